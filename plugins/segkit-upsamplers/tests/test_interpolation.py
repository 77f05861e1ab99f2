"""Resize-convolutions against Pillow and hand calculation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from segkit_upsamplers import UPSAMPLERS

SIZES = [(10, 14), (9, 13), (11, 16), (5, 7)]


def resized(name: str, array_HW: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    upsampler = UPSAMPLERS[name](1, 1, 2, kernel=0)
    return upsampler(torch.from_numpy(array_HW)[None, None], size)[0, 0].numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "resampling"),
    [("nearest", Image.Resampling.NEAREST), ("bilinear", Image.Resampling.BILINEAR)],
)
def test_interpolation_equals_pillows_at_any_size(name, resampling, size):
    array_HW = np.random.default_rng(0).random((5, 7), dtype=np.float32)
    expected_HW = np.asarray(Image.fromarray(array_HW).resize(size[::-1], resampling))
    np.testing.assert_allclose(resized(name, array_HW, size), expected_HW, atol=1e-6)


def cubic_weight(distance: float, a: float = -0.75) -> float:
    """Keys 1981, equation 15, with a free a."""
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def test_bicubic_weighs_four_neighbours_by_keys_cubic():
    row_W = np.random.default_rng(1).random(6, dtype=np.float32)
    expected_W = []
    for place in range(12):
        source = (place + 0.5) / 2 - 0.5
        near = int(np.floor(source))
        taps = [(row_W[min(max(near + i, 0), 5)], near + i) for i in (-1, 0, 1, 2)]
        expected_W.append(sum(value * cubic_weight(source - at) for value, at in taps))
    np.testing.assert_allclose(resized("bicubic", row_W[None], (1, 12))[0], expected_W, atol=1e-6)


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic"])
def test_a_1x1_convolution_before_equals_one_after(name):
    upsampler = UPSAMPLERS[name](5, 3, 2, kernel=1).double()
    x_BCHW = torch.randn(2, 5, 4, 6, dtype=torch.float64)
    after_BCHW = upsampler.convolution(upsampler.resize(x_BCHW, (9, 11)))
    torch.testing.assert_close(upsampler(x_BCHW, (9, 11)), after_BCHW)


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic"])
def test_the_convolution_sees_the_enlarged_map(name):
    upsampler = UPSAMPLERS[name](5, 3, 2)
    x_BCHW = torch.randn(2, 5, 4, 6)
    after_BCHW = upsampler.convolution(upsampler.resize(x_BCHW, (9, 11)))
    assert torch.equal(upsampler(x_BCHW, (9, 11)), after_BCHW)
