"""Norm, ReLU and convolution as one step: plain autograd's numbers from half of what it keeps."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from segkit.api import batch_statistics, norm_relu_convolution, recomputes

CHANNELS = (6, 4)


def parts(**options) -> tuple[nn.BatchNorm2d, nn.Conv2d]:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(sum(CHANNELS))
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm, nn.Conv2d(sum(CHANNELS), 8, 3, **{"padding": 1, **options})


def maps(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    made = [torch.randn(2, c, 9, 7, dtype=dtype) * 3 + 1 for c in CHANNELS]
    return [m.contiguous(memory_format=torch.channels_last).requires_grad_() for m in made]


def differentiated(output_BOHW: Tensor, given: list[Tensor], *modules: nn.Module) -> list[Tensor]:
    """Output, gradients and running statistics."""
    torch.manual_seed(1)
    output_BOHW.backward(torch.randn_like(output_BOHW))
    gradients = [p.grad for module in modules for p in module.parameters()]
    buffers = [buffer for module in modules for buffer in module.buffers()]
    return [output_BOHW.detach(), *[each.grad for each in given], *gradients, *buffers]


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"stride": 2}, {"dilation": 2, "padding": 2}, {"groups": 2}]
)
def test_outputs_gradients_and_statistics_are_those_of_plain_autograd(options, autocast):
    norm, convolution = parts(**options)
    plain_norm, plain_convolution = copy.deepcopy(norm), copy.deepcopy(convolution)
    ours = maps()
    theirs = [each.detach().clone().requires_grad_() for each in ours]
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = norm_relu_convolution(ours, norm, convolution)
        expected = plain_convolution(plain_norm(torch.cat(theirs, dim=1)).relu())
    pairs = zip(
        differentiated(found, ours, norm, convolution),
        differentiated(expected, theirs, plain_norm, plain_convolution),
        strict=True,
    )
    for mine, other in pairs:
        tolerance = {"rtol": 2e-2, "atol": 1e-1} if autocast else {"rtol": 1e-4, "atol": 1e-4}
        torch.testing.assert_close(mine, other, **tolerance)


def test_gradients_agree_with_finite_differences():
    norm, convolution = (module.double() for module in parts())

    def step(*given: Tensor) -> Tensor:
        return norm_relu_convolution(given, norm, convolution)

    assert torch.autograd.gradcheck(step, maps(torch.float64), nondet_tol=0.0)


def test_statistics_given_are_those_found():
    norm, convolution = parts()
    given = maps()
    known = [batch_statistics(each, norm) for each in given]
    again, other = copy.deepcopy(norm), norm_relu_convolution(given, norm, convolution, known)
    assert torch.equal(norm_relu_convolution(given, again, convolution), other)
    mean_C, variance_C = torch.cat(given, dim=1).mean((0, 2, 3)), torch.cat(given, 1).var((0, 2, 3))
    torch.testing.assert_close(torch.cat([each.mean_C for each in known]), mean_C)
    torch.testing.assert_close(torch.cat([each.unbiased_variance_C for each in known]), variance_C)


def test_nothing_but_the_maps_and_the_weights_is_kept():
    norm, convolution = parts()
    given = maps()
    kept: list[Tensor] = []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        norm_relu_convolution(given, norm, convolution)
    owned = {each.data_ptr() for each in (*given, *norm.parameters(), *convolution.parameters())}
    assert {each.data_ptr() for each in kept} == owned


def test_a_frozen_weight_gets_no_gradient_and_the_maps_get_theirs():
    norm, convolution = parts()
    convolution.requires_grad_(False)
    given = maps()
    norm_relu_convolution(given, norm, convolution).sum().backward()
    assert convolution.weight.grad is None
    assert all(each.grad is not None for each in given)


def test_what_plain_modules_would_do_otherwise_is_left_to_them():
    norm, convolution = parts()
    x_BCHW = torch.cat(maps(), dim=1)
    assert recomputes(norm, convolution, x_BCHW)
    with torch.no_grad():
        assert not recomputes(norm, convolution, x_BCHW)
    assert not recomputes(copy.deepcopy(norm).eval(), convolution, x_BCHW)
    assert not recomputes(nn.SyncBatchNorm(10), convolution, x_BCHW)
    assert not recomputes(nn.BatchNorm2d(10, momentum=None), convolution, x_BCHW)
    assert not recomputes(nn.BatchNorm2d(10, affine=False), convolution, x_BCHW)
    assert not recomputes(norm, nn.Conv2d(10, 8, 3, padding_mode="reflect"), x_BCHW)
    assert not recomputes(norm, convolution, x_BCHW[:1, :, :1, :1])
    convolution.register_forward_hook(lambda *_: None)
    assert not recomputes(norm, convolution, x_BCHW)
