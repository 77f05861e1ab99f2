"""Gradients, number formats, memory formats and repeatability of every upsampler."""

from __future__ import annotations

import pytest
import torch
from segkit_upsamplers import UPSAMPLERS
from torch import Tensor, nn
from torch.nn import functional as F

pytestmark = pytest.mark.integration

# CARAFE with few weights to predict: finite differences take a pass for each parameter.
SMALL = {"carafe": {"kernel": 3, "compressed_channels": 2}}
VARIANTS = [(name, SMALL.get(name, {})) for name in UPSAMPLERS] + [
    ("transposed", {"kernel": 3}),
    ("dysample", {"style": "pl", "dynamic_scope": True}),
]
NAMED = pytest.mark.parametrize(("name", "options"), VARIANTS)
ODD = (7, 9)


def example(name: str, options: dict, dtype: torch.dtype) -> tuple[nn.Module, Tensor, tuple]:
    """An upsampler from 4 to 2 channels, its input of 3 x 4, and the rest of its arguments."""
    torch.manual_seed(0)
    upsampler = UPSAMPLERS[name](4, 2, 2, **options).to(dtype)
    _, index_BCHW = F.max_pool2d(torch.randn(2, 2, *ODD), 2, return_indices=True)
    pooled = index_BCHW if upsampler.needs_pool_indices else None
    return upsampler, torch.randn(2, 4, 3, 4, dtype=dtype), (ODD, pooled)


@NAMED
def test_gradients_equal_finite_differences(name, options):
    upsampler, x_BCHW, rest = example(name, options, torch.float64)
    names, parameters = zip(*upsampler.named_parameters(), strict=True)

    def run(x_BCHW: Tensor, *parameters: Tensor) -> Tensor:
        state = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(upsampler, state, (x_BCHW, *rest))

    assert torch.autograd.gradcheck(run, (x_BCHW.requires_grad_(), *parameters))


@NAMED
def test_training_under_bfloat16_autocast_stays_within_a_twentieth(name, options):
    upsampler, x_BCHW, rest = example(name, options, torch.float32)
    gradients = []
    for enabled in (False, True):
        leaf_BCHW = x_BCHW.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            out_BCHW = upsampler(leaf_BCHW, *rest)
        out_BCHW.float().pow(2).sum().backward()
        gradients.append(leaf_BCHW.grad)
    exact, rounded = gradients
    assert (rounded - exact).norm() < 0.05 * exact.norm()


@NAMED
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_module_of_another_type_returns_that_type(name, options, dtype):
    upsampler, x_BCHW, rest = example(name, options, dtype)
    out_BCHW = upsampler(x_BCHW, *rest)
    assert out_BCHW.dtype is dtype
    exact_BCHW = upsampler.double()(x_BCHW.double(), *rest)
    assert (out_BCHW - exact_BCHW).norm() < 0.05 * exact_BCHW.norm()


@NAMED
def test_gradients_are_the_same_bits_every_time_under_deterministic_algorithms(name, options):
    upsampler, x_BCHW, rest = example(name, options, torch.float32)
    torch.use_deterministic_algorithms(True)
    try:
        runs = []
        for _ in range(3):
            loss = upsampler(x_BCHW.requires_grad_(), *rest).pow(2).sum()
            runs.append(torch.autograd.grad(loss, [x_BCHW, *upsampler.parameters()]))
    finally:
        torch.use_deterministic_algorithms(False)
    for others in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], others, strict=True))


@NAMED
def test_channels_last_gives_the_same_gradients(name, options):
    upsampler, x_BCHW, rest = example(name, options, torch.float64)
    gradients = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        upsampler = upsampler.to(memory_format=memory_format)
        leaf_BCHW = x_BCHW.clone(memory_format=memory_format).requires_grad_()
        upsampler(leaf_BCHW, *rest).pow(2).sum().backward()
        gradients.append(leaf_BCHW.grad)
    torch.testing.assert_close(*gradients)


@NAMED
def test_a_scale_of_4_reaches_every_parameter_and_exports(name, options):
    if name == "max_unpool":
        pytest.skip("a scale of 2 only")
    upsampler = UPSAMPLERS[name](4, 8, 4, **options)
    x_BCHW, size = torch.randn(1, 4, 3, 5), (11, 22)
    out_BCHW = upsampler(x_BCHW, size)
    out_BCHW.pow(2).sum().backward()
    assert all(parameter.grad is not None for parameter in upsampler.parameters())
    exported = torch.export.export(upsampler, (x_BCHW, size)).module()
    torch.testing.assert_close(exported(x_BCHW, size), out_BCHW)
