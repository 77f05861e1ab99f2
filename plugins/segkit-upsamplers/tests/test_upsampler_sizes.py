"""Every upsampler returns exactly the size asked for, whatever the options."""

from __future__ import annotations

import pytest
import torch

from segkit.registry import default_registry

EXPRESSIONS = [
    "nearest",
    "nearest(kernel=1)",
    "bilinear",
    "bicubic",
    "bicubic(kernel=5)",
    "transposed",
    "transposed(kernel=3)",
    "transposed(kernel=4, bias=false)",
    "transposed(kernel=1)",
    "transposed(kernel=5, padding=[0, 2])",
    "transposed(kernel=16, stride=scale)",
]
SIZES = [(1, 1), (7, 5), (8, 12), (9, 31)]


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_any_size_asked_for_is_returned_exactly(expression, scale):
    upsampler = (
        default_registry()
        .component("upsamplers", expression)
        .build(in_channels=5, out_channels=3, scale=scale)
    )
    assert upsampler.channels == 3
    assert not upsampler.needs_pool_indices
    for height, width in [(1, 1), (3, 4)]:
        for size in [
            *SIZES,
            (height * scale, width * scale),
            (height * scale - 1, width * scale + 1),
        ]:
            assert upsampler(torch.randn(2, 5, height, width), size).shape == (2, 3, *size)
