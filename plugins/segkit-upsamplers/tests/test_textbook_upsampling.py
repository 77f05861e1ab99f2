"""The worked examples of transposed convolution and unpooling in lectures, number by number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segkit_upsamplers import UPSAMPLERS
from segkit_upsamplers.transposed import TransposedStep
from torch import Tensor
from torch.nn import functional as F

INPUT = [[2, 2], [1, 4]]


def stamped(
    rows: list, *, kernel: list | None = None, stride: int, padding=0, bias: float = 0
) -> list:
    """What the upsampler's plain operation makes of one channel (or one per item of `rows`)."""
    kernel_HW = torch.tensor(kernel or [[1, 1], [1, 1]], dtype=torch.float64)
    x_BCHW = torch.tensor(rows, dtype=torch.float64).reshape(1, -1, *np.shape(rows)[-2:])
    channels, side = x_BCHW.shape[1], kernel_HW.shape[-1]
    # The upsampler refuses a padding that leaves nothing of a single pixel; the operation does not.
    step = TransposedStep(channels, 1, kernel=side, stride=stride).double()
    step.convolution.padding = padding if isinstance(padding, tuple) else (padding, padding)
    with torch.no_grad():
        step.convolution.weight.copy_(kernel_HW.expand(channels, 1, side, side))
        step.convolution.bias.fill_(bias)
    return step.convolution(x_BCHW)[0, 0].tolist()


def test_a_kernel_of_ones_at_stride_1_adds_overlapping_stamps():
    assert stamped(INPUT, stride=1) == [[2, 4, 2], [3, 9, 6], [1, 5, 4]]


def test_a_bias_of_1_is_added_to_every_pixel():
    assert stamped(INPUT, stride=1, bias=1) == [[3, 5, 3], [4, 10, 7], [2, 6, 5]]


def test_padding_1_leaves_the_centre():
    assert stamped(INPUT, stride=1, padding=1) == [[9]]


def test_padding_1_0_leaves_the_middle_row():
    assert stamped(INPUT, stride=1, padding=(1, 0)) == [[3, 9, 6]]


def test_stride_2_copies_each_pixel_into_a_block():
    assert stamped(INPUT, stride=2) == [[2, 2, 2, 2], [2, 2, 2, 2], [1, 1, 4, 4], [1, 1, 4, 4]]


def test_stride_2_with_padding_1_gives_the_input_back():
    assert stamped(INPUT, stride=2, padding=1) == INPUT


def test_two_channels_are_stamped_and_summed():
    both = [[[0, 1], [3, 0]], [[1, 1], [2, 4]]]
    assert stamped(both, stride=2) == [[1, 1, 2, 2], [1, 1, 2, 2], [5, 5, 4, 4], [5, 5, 4, 4]]


@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_the_upsampler_itself_copies_blocks_with_a_kernel_of_ones(kernel):
    upsampler = UPSAMPLERS["transposed"](1, 1, 2, kernel=kernel, bias=False)
    weight = upsampler.steps[0].convolution.weight
    inner = (kernel - 2) // 2
    with torch.no_grad():
        weight.zero_()[..., inner : inner + 2, inner : inner + 2] = 1
    enlarged_BCHW = upsampler(torch.tensor([[INPUT]], dtype=torch.float32), (4, 4))
    assert enlarged_BCHW[0, 0].tolist() == np.kron(INPUT, np.ones((2, 2))).tolist()


def convolution_matrix(kernel: np.ndarray, side: int) -> np.ndarray:
    """The unpadded convolution of a side x side input, written out as a matrix."""
    reach = side - len(kernel) + 1
    matrix = np.zeros((reach * reach, side * side))
    for row, column in np.ndindex(reach, reach):
        for i, j in np.ndindex(kernel.shape):
            matrix[row * reach + column, (row + i) * side + column + j] = kernel[i, j]
    return matrix


def test_transposed_convolution_is_the_transpose_of_the_convolution_matrix():
    kernel = [[1, 4, 1], [1, 4, 3], [3, 3, 1]]
    matrix = convolution_matrix(np.array(kernel), 4)
    assert matrix.shape == (4, 16)
    assert matrix[0].tolist() == [1, 4, 1, 0, 1, 4, 3, 0, 3, 3, 1, 0, 0, 0, 0, 0]
    by_matrix = matrix.T @ np.array(INPUT).ravel()
    assert stamped(INPUT, kernel=kernel, stride=1) == by_matrix.reshape(4, 4).tolist()


def one_channel(rows: list) -> Tensor:
    return torch.tensor([[rows]], dtype=torch.float32)


def test_bed_of_nails_puts_each_value_at_the_top_left_of_zeros():
    nails_BCHW = UPSAMPLERS["bed_of_nails"](1, 1, 2)(one_channel([[1, 2], [3, 4]]), (4, 4))
    assert nails_BCHW[0, 0].tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]


def test_nearest_unpooling_repeats_each_value_in_its_block():
    repeated_BCHW = UPSAMPLERS["nearest"](1, 1, 2, kernel=0)(one_channel([[1, 2], [3, 4]]), (4, 4))
    assert repeated_BCHW[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]


def test_max_unpooling_puts_values_back_where_the_maxima_were():
    pooled = one_channel([[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]])
    maxima_BCHW, index_BCHW = F.max_pool2d(pooled, 2, return_indices=True)
    assert maxima_BCHW[0, 0].tolist() == [[5, 6], [7, 8]]
    back_BCHW = UPSAMPLERS["max_unpool"](1, 1, 2)(one_channel([[1, 2], [3, 4]]), (4, 4), index_BCHW)
    assert back_BCHW[0, 0].tolist() == [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]
