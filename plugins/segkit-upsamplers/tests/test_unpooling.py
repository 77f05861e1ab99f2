"""Unpooling against torch's own, and undoing a pooling."""

from __future__ import annotations

import pytest
import torch
from segkit_upsamplers import UPSAMPLERS
from segkit_upsamplers.unpooling import unpool
from torch.nn import functional as F


def pooled(height: int, width: int, *, ceil: bool = False, dtype=torch.float64):
    torch.manual_seed(0)
    map_BCHW = torch.randn(2, 3, height, width, dtype=dtype)
    return F.max_pool2d(map_BCHW, 2, ceil_mode=ceil, return_indices=True)


@pytest.mark.parametrize("size", [(6, 8), (7, 9), (6, 9), (2, 2)])
@pytest.mark.parametrize("ceil", [False, True])
def test_unpooling_equals_torchs_for_even_and_odd_maps(size, ceil):
    value_BCHW, index_BCHW = pooled(*size, ceil=ceil)
    value_BCHW.requires_grad_()
    expected_BCHW = F.max_unpool2d(value_BCHW, index_BCHW, 2, output_size=size)
    unpooled_BCHW = unpool(value_BCHW, index_BCHW, size)
    assert torch.equal(unpooled_BCHW, expected_BCHW)
    cotangent_BCHW = torch.randn_like(expected_BCHW)
    mine = torch.autograd.grad(unpooled_BCHW, value_BCHW, cotangent_BCHW)[0]
    torchs = torch.autograd.grad(expected_BCHW, value_BCHW, cotangent_BCHW)[0]
    assert torch.equal(mine, torchs)


def test_pooling_an_unpooled_map_gives_it_back():
    value_BCHW, index_BCHW = pooled(8, 10)
    back_BCHW = F.max_pool2d(unpool(value_BCHW.abs(), index_BCHW, (8, 10)), 2)
    assert torch.equal(back_BCHW, value_BCHW.abs())


def test_the_map_is_convolved_before_only_where_channels_change():
    assert not list(UPSAMPLERS["max_unpool"](3, 3, 2).parameters())
    upsampler = UPSAMPLERS["max_unpool"](5, 3, 2).double()
    _, index_BCHW = pooled(6, 8)
    x_BCHW = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    expected_BCHW = F.max_unpool2d(upsampler.convolution(x_BCHW), index_BCHW, 2)
    assert torch.equal(upsampler(x_BCHW, (6, 8), index_BCHW), expected_BCHW)
    assert upsampler.convolution.kernel_size == (3, 3)


def test_an_infinite_value_stays_one_pixel():
    _, index_BCHW = pooled(4, 4)
    infinite_BCHW = torch.full((2, 3, 2, 2), torch.inf)
    assert unpool(infinite_BCHW, index_BCHW, (4, 4)).isinf().sum() == index_BCHW.numel()


def test_an_index_outside_its_block_gives_zeros_instead_of_a_crash():
    value_BCHW, index_BCHW = pooled(4, 4)
    assert not unpool(value_BCHW, index_BCHW + 10**6, (4, 4)).any()


@pytest.mark.parametrize("scale", [2, 4])
def test_a_convolution_over_a_bed_of_nails_is_a_transposed_convolution(scale):
    x_BCHW = torch.randn(1, 2, 3, 4, dtype=torch.float64)
    weight_IOHW = torch.randn(2, 3, scale, scale, dtype=torch.float64)
    nails_BCHW = UPSAMPLERS["bed_of_nails"](2, 2, scale)(x_BCHW, (3 * scale, 4 * scale))
    room_BCHW = F.pad(nails_BCHW, (scale - 1, 0, scale - 1, 0))
    convolved_BCHW = F.conv2d(room_BCHW, weight_IOHW.transpose(0, 1).flip(2, 3))
    torch.testing.assert_close(
        convolved_BCHW, F.conv_transpose2d(x_BCHW, weight_IOHW, stride=scale)
    )
