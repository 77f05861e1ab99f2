"""Transposed convolution as an upsampler: where stamps lie, which variants it covers."""

from __future__ import annotations

import pytest
import torch
from segkit_upsamplers import UPSAMPLERS
from torch import nn

ALIGNED = [(2, None), (3, None), (4, None), (4, 0), (4, 1), (5, 2), (6, 0), (6, 2), (7, 3), (1, 0)]


@pytest.mark.parametrize(("kernel", "padding"), ALIGNED)
def test_a_stamp_lies_centred_over_its_block_whatever_the_padding(kernel, padding):
    upsampler = UPSAMPLERS["transposed"](1, 1, 2, kernel=kernel, padding=padding, bias=False)
    nn.init.ones_(upsampler.steps[0].convolution.weight)
    x_BCHW = torch.zeros(1, 1, 9, 9)
    x_BCHW[..., 4, 4] = 1
    rows = upsampler(x_BCHW, (18, 18))[0, 0].sum(dim=1).nonzero().flatten().tolist()
    # Input row 4 owns output rows 8 and 9; an odd surplus row is at the far side.
    first = 8 - max(kernel - 2, 0) // 2
    assert rows == list(range(first, first + kernel))


def test_kernel_3_is_pytorchs_with_its_first_row_and_column_computed_not_padded():
    upsampler = UPSAMPLERS["transposed"](3, 2, 2, kernel=3)
    reference = nn.ConvTranspose2d(3, 2, 3, stride=2, padding=0)
    reference.load_state_dict(upsampler.steps[0].convolution.state_dict())
    x_BCHW = torch.randn(1, 3, 5, 4)
    # "Same" padding as Keras has it: one surplus row, cut off at the end.
    assert torch.equal(upsampler(x_BCHW, (10, 8)), reference(x_BCHW)[..., :10, :8])
    # One row more than twice is computed, not repeated.
    assert torch.equal(upsampler(x_BCHW, (11, 9)), reference(x_BCHW))


def test_the_default_is_the_u_net_papers_2x2():
    upsampler = UPSAMPLERS["transposed"](64, 32, 2)
    convolution = upsampler.steps[0].convolution
    assert (convolution.kernel_size, convolution.stride, convolution.padding) == (
        (2, 2),
        (2, 2),
        (0, 0),
    )
    assert sum(p.numel() for p in upsampler.parameters()) == 2 * 2 * 64 * 32 + 32


def test_the_fcn_setting_equals_torch_with_its_own_padding():
    upsampler = UPSAMPLERS["transposed"](3, 3, 8, kernel=16, stride="scale", bias=False)
    reference = nn.ConvTranspose2d(3, 3, 16, stride=8, padding=4, bias=False)
    reference.load_state_dict(upsampler.steps[0].convolution.state_dict())
    x_BCHW = torch.randn(1, 3, 4, 3)
    assert len(upsampler.steps) == 1
    assert torch.equal(upsampler(x_BCHW, (32, 24)), reference(x_BCHW))


def test_a_scale_of_8_is_three_doublings_of_which_the_first_changes_the_channels():
    upsampler = UPSAMPLERS["transposed"](6, 2, 8)
    channels = [(s.convolution.in_channels, s.convolution.out_channels) for s in upsampler.steps]
    assert channels == [(6, 2), (2, 2), (2, 2)]


def test_only_a_kernel_that_the_stride_does_not_divide_shows_a_checkerboard():
    """The variation of an enlarged constant map, away from its edges, under a kernel of ones."""
    variation = {}
    for kernel in (2, 3, 4):
        upsampler = UPSAMPLERS["transposed"](1, 1, 2, kernel=kernel, bias=False)
        nn.init.ones_(upsampler.steps[0].convolution.weight)
        variation[kernel] = (
            upsampler(torch.ones(1, 1, 8, 8), (16, 16))[..., 2:-2, 2:-2].std().item()
        )
    assert variation[2] == variation[4] == 0
    assert variation[3] > 1
