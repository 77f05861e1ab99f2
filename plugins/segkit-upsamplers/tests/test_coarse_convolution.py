"""Convolving before interpolating gives what convolving after it gives."""

from __future__ import annotations

import pytest
import torch
from segkit_upsamplers import UPSAMPLERS
from segkit_upsamplers.coarse_convolution import LEAST_CHANNELS, _band, convolve_enlarged, pays
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

# Larger than a block of the band, smaller, odd, of one row, and far from twice as large.
SIZES = [((20, 35), (40, 70)), ((3, 4), (7, 9)), ((1, 5), (2, 11)), ((5, 3), (40, 25))]
MODES = ["nearest", "bilinear", "bicubic"]


def parts(name: str, small: tuple[int, int], kernel: int = 3) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    upsampler = UPSAMPLERS[name](6, 4, 2, kernel=kernel).double()
    x_BCHW = torch.randn(2, 6, *small, dtype=torch.float64)
    return upsampler, x_BCHW.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize(("small", "large"), SIZES)
@pytest.mark.parametrize("kernel", [3, 5])
def test_the_map_is_that_of_interpolating_first(name, small, large, kernel):
    upsampler, x_BCHW = parts(name, small, kernel)
    found_BCHW = convolve_enlarged(x_BCHW, upsampler.convolution, large, upsampler.mode)
    wanted_BCHW = upsampler.convolution(upsampler.resize(x_BCHW, large))
    torch.testing.assert_close(found_BCHW, wanted_BCHW, rtol=1e-12, atol=1e-13)
    assert found_BCHW.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize(("small", "large"), SIZES)
def test_gradients_are_those_of_interpolating_first(name, small, large):
    upsampler, x_BCHW = parts(name, small)
    weigh_BCHW = torch.randn(2, 4, *large, dtype=torch.float64)
    wanted = [x_BCHW.requires_grad_(), *upsampler.convolution.parameters()]
    found_BCHW = convolve_enlarged(x_BCHW, upsampler.convolution, large, upsampler.mode)
    plain_BCHW = upsampler.convolution(upsampler.resize(x_BCHW, large))
    gradients = [
        torch.autograd.grad((each * weigh_BCHW).sum(), wanted) for each in (found_BCHW, plain_BCHW)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-12)


def test_second_gradients_equal_finite_differences():
    upsampler, x_BCHW = parts("bilinear", (2, 3))

    def run(x_BCHW: Tensor) -> Tensor:
        return convolve_enlarged(x_BCHW, upsampler.convolution, (5, 6), "bilinear").pow(3)

    assert torch.autograd.gradgradcheck(run, x_BCHW.requires_grad_(), fast_mode=True)


def test_the_upsampler_takes_this_way_and_is_as_exact_as_the_other():
    torch.manual_seed(0)
    upsampler = UPSAMPLERS["bilinear"](LEAST_CHANNELS, 64, 2)
    x_BCHW = torch.randn(2, LEAST_CHANNELS, 9, 17).contiguous(memory_format=torch.channels_last)
    assert pays(upsampler.convolution, x_BCHW, (18, 34))
    found_BCHW = upsampler(x_BCHW, (18, 34))
    plain_BCHW = upsampler.convolution(upsampler.resize(x_BCHW, (18, 34)))
    exact_BCHW = upsampler.double().convolution(upsampler.resize(x_BCHW.double(), (18, 34)))
    found, plain = ((each - exact_BCHW).norm() for each in (found_BCHW, plain_BCHW))
    assert 0 < found < 2 * plain


@pytest.mark.parametrize(
    ("channels", "size", "dtype", "layout"),
    [
        (LEAST_CHANNELS - 1, (8, 8), torch.float32, torch.channels_last),
        (LEAST_CHANNELS, (7, 8), torch.float32, torch.channels_last),
        (LEAST_CHANNELS, (8, 8), torch.bfloat16, torch.channels_last),
        (LEAST_CHANNELS, (8, 8), torch.float32, torch.contiguous_format),
    ],
    ids=["few channels", "less than doubled", "bfloat16", "channels first"],
)
def test_what_it_does_not_pay_for_goes_the_plain_way(channels, size, dtype, layout):
    convolution = UPSAMPLERS["bilinear"](channels, 8, 2).convolution
    x_BCHW = torch.randn(1, channels, 4, 4, dtype=dtype).contiguous(memory_format=layout)
    assert not pays(convolution, x_BCHW, size)


def test_under_autocast_it_goes_the_plain_way():
    convolution = UPSAMPLERS["bilinear"](LEAST_CHANNELS, 8, 2).convolution
    x_BCHW = torch.randn(1, LEAST_CHANNELS, 4, 4).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        assert not pays(convolution, x_BCHW, (8, 8))
    assert pays(convolution, x_BCHW, (8, 8))


def test_what_is_kept_for_the_gradient_is_no_larger_than_the_small_map():
    upsampler = UPSAMPLERS["bilinear"](LEAST_CHANNELS, 64, 2)
    x_BCHW = torch.randn(1, LEAST_CHANNELS, 8, 12).contiguous(memory_format=torch.channels_last)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each) or each, id):
        upsampler(x_BCHW.requires_grad_(), (16, 24))
    of_maps = [each for each in kept if each.shape[-1] > 1]
    assert of_maps and max(each.numel() for each in of_maps) <= x_BCHW.numel()


def test_a_hook_on_the_convolution_sees_the_enlarged_map():
    upsampler = UPSAMPLERS["bilinear"](LEAST_CHANNELS, 8, 2)
    seen: list[torch.Size] = []
    upsampler.convolution.register_forward_hook(lambda _, given, out: seen.append(given[0].shape))
    x_BCHW = torch.randn(1, LEAST_CHANNELS, 4, 4).contiguous(memory_format=torch.channels_last)
    upsampler(x_BCHW, (8, 8))
    assert seen == [(1, LEAST_CHANNELS, 8, 8)]


def test_a_training_follows_a_prediction_of_the_same_size():
    upsampler = UPSAMPLERS["bilinear"](LEAST_CHANNELS, 8, 2)
    x_BCHW = torch.randn(1, LEAST_CHANNELS, 6, 6).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        upsampler(x_BCHW, (13, 14))
    upsampler(x_BCHW, (13, 14)).sum().backward()
    assert upsampler.convolution.weight.grad is not None


def test_a_training_follows_a_step_that_was_only_counted():
    _band.cache_clear()
    with FakeTensorMode():
        blocks = _band(3, 6, 3, "bilinear", torch.float32, False)
    assert [type(block.matrix) for block in blocks] == [Tensor]
    assert blocks[0].matrix.shape == (6, 9)
