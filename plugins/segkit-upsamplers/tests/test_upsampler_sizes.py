"""Every upsampler returns exactly the size asked for; what lies beyond its own is defined."""

from __future__ import annotations

import numpy as np
import pytest
import segkit_upsamplers
import torch
from hypothesis import given
from hypothesis import strategies as st
from segkit_upsamplers.geometry import place
from torch.nn import functional as F

EVERY_SCALE = [
    ("nearest", {}),
    ("nearest", {"kernel": 1}),
    ("bilinear", {}),
    ("bicubic", {"kernel": 5}),
    ("transposed", {}),
    ("transposed", {"kernel": 3}),
    ("transposed", {"kernel": 4, "bias": False}),
    ("transposed", {"kernel": 1}),
    ("transposed", {"kernel": 5, "padding": (0, 2)}),
    ("transposed", {"kernel": 7, "padding": 3}),
    ("transposed", {"kernel": 16, "stride": "scale"}),
    ("bed_of_nails", {}),
    ("pixel_shuffle", {}),
    ("carafe", {}),
    ("carafe", {"kernel": 3, "encoder_kernel": 1, "compressed_channels": 2}),
    ("dysample", {}),
    ("dysample", {"style": "pl", "groups": 2, "dynamic_scope": True}),
]


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize(("name", "options"), EVERY_SCALE)
def test_any_size_asked_for_is_returned_exactly(name, options, scale):
    factory = segkit_upsamplers.segkit_upsampler(name)
    upsampler = factory(in_channels=8, out_channels=4, scale=scale, **options)
    assert (upsampler.channels, upsampler.needs_pool_indices) == (4, False)
    for height, width in [(1, 1), (3, 4)]:
        x_BCHW = torch.randn(2, 8, height, width)
        natural = (height * scale, width * scale)
        for size in [natural, (natural[0] - 1, natural[1] + 1), (1, 1), (7, 5), (9, 31)]:
            assert upsampler(x_BCHW, size).shape == (2, 4, *size)


@pytest.mark.parametrize("size", [(6, 8), (7, 9), (5, 7), (1, 20), (20, 1)])
def test_max_unpooling_returns_any_size(size):
    upsampler = segkit_upsamplers.segkit_upsampler("max_unpool")(8, 4, 2)
    assert (upsampler.channels, upsampler.needs_pool_indices) == (4, True)
    _, index_BCHW = F.max_pool2d(torch.randn(2, 4, 6, 8), 2, return_indices=True)
    assert upsampler(torch.randn(2, 8, 3, 4), size, index_BCHW).shape == (2, 4, *size)


@given(*[st.integers(1, 6)] * 4, *[st.integers(-9, 9)] * 2)
def test_a_window_repeats_the_edges_it_reaches_over(rows, columns, height, width, top, left):
    x_HW = torch.arange(float(rows * columns)).reshape(rows, columns)
    row_H = np.clip(np.arange(top, top + height), 0, rows - 1)
    column_W = np.clip(np.arange(left, left + width), 0, columns - 1)
    placed_BCHW = place(x_HW[None, None], (height, width), before=(top, left))
    np.testing.assert_array_equal(placed_BCHW[0, 0], x_HW.numpy()[np.ix_(row_H, column_W)])


@pytest.mark.parametrize("name", ["transposed", "pixel_shuffle", "carafe", "dysample"])
def test_steps_that_double_are_cut_or_repeat_their_last_row_and_column(name):
    upsampler = segkit_upsamplers.segkit_upsampler(name)(4, 4, 2)
    x_BCHW = torch.randn(1, 4, 3, 5)
    natural_BCHW = upsampler(x_BCHW, (6, 10))
    assert torch.equal(upsampler(x_BCHW, (5, 9)), natural_BCHW[..., :5, :9])
    repeated_BCHW = F.pad(natural_BCHW, (0, 2, 0, 1), mode="replicate")
    assert torch.equal(upsampler(x_BCHW, (7, 12)), repeated_BCHW)


def test_bed_of_nails_is_cut_or_filled_with_zeros():
    upsampler = segkit_upsamplers.segkit_upsampler("bed_of_nails")(4, 4, 2)
    x_BCHW = torch.randn(1, 4, 3, 5)
    natural_BCHW = upsampler(x_BCHW, (6, 10))
    assert torch.equal(upsampler(x_BCHW, (5, 12)), F.pad(natural_BCHW, (0, 2, 0, -1)))
