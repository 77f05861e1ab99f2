"""Colour changes: what the matrix does, against the same written pixel by pixel in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from segkit.data.augmentation.colour_changes import change_colours
from segkit.data.augmentation.presets import Preset

IMAGE = np.random.default_rng(0).integers(60, 190, (12, 16, 3), dtype=np.uint8)


def changed(preset: Preset, image: np.ndarray = IMAGE, seed: int = 0) -> np.ndarray:
    return change_colours(image, preset, np.random.default_rng(seed))


def test_no_change_is_no_change():
    assert np.array_equal(changed(Preset()), IMAGE)


def test_contrast_is_a_factor_about_the_mean():
    rng = np.random.default_rng(0)
    factor = rng.uniform(0.7, 1.3)
    mean = IMAGE[::4, ::4].mean()
    expected = np.rint((IMAGE.astype(float) - mean) * factor + mean)
    assert np.abs(changed(Preset(contrast=0.3)) - expected).max() <= 1


def test_brightness_is_a_shift_of_the_whole_image():
    shift = changed(Preset(brightness=0.1)).astype(int) - IMAGE
    assert len(np.unique(shift)) == 1
    assert 0 < abs(shift[0, 0, 0]) <= 0.1 * 255 + 1


def test_saturation_moves_pixels_towards_or_away_from_their_own_grey():
    out = changed(Preset(saturation=0.5), seed=3).astype(float)
    assert np.abs(out.mean(axis=2) - IMAGE.mean(axis=2)).max() <= 1
    before = IMAGE - IMAGE.mean(axis=2, keepdims=True)
    after = out - out.mean(axis=2, keepdims=True)
    factor = (before * after).sum() / (before**2).sum()
    assert 0.5 <= factor <= 1.5
    assert np.abs(after - factor * before).max() < 1.5


def test_tint_keeps_each_channels_order():
    out = changed(Preset(tint=0.2), seed=1).astype(float)
    for channel in range(3):
        ratio = out[:, :, channel] / IMAGE[:, :, channel]
        assert ratio.std() < 0.01
        assert 0.8 <= ratio.mean() <= 1.2


def test_gamma_keeps_black_and_white():
    ends = np.zeros((4, 4, 3), np.uint8)
    ends[:2] = 255
    assert np.array_equal(changed(Preset(gamma=0.3), ends), ends)


def test_noise_is_as_strong_as_said():
    flat = np.full((200, 200, 1), 128, np.uint8)
    spreads = [changed(Preset(noise=1), flat, seed).astype(float).std() for seed in range(12)]
    assert max(spreads) <= 0.03 * 255 + 0.3
    assert max(spreads) > 3


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_images_change_as_flat_ones_do(dtype):
    preset = Preset(contrast=0.3, saturation=0.3, tint=0.1, gamma=0.2)
    # White is the highest value of a deep image, so the flat twin must reach 255 too.
    flat = IMAGE.copy()
    flat[0, 0] = 255
    deep = flat.astype(dtype) * (257 if dtype == np.uint16 else np.float32(1 / 255))
    scale = 257 if dtype == np.uint16 else 1 / 255
    # Floats have no upper end, where 8 bits stop at 255.
    told = np.minimum(changed(preset, deep) / scale, 255)
    assert np.abs(told - changed(preset, flat)).max() < 3


def test_beyond_four_channels_none_is_mixed_with_another():
    many = np.repeat(IMAGE[:, :, :1], 7, axis=2)
    many[:, :, 3] = 0
    out = changed(Preset(contrast=0.2), many)
    assert np.array_equal(out[:, :, 0], out[:, :, 6])
    assert len(np.unique(out[:, :, 3])) == 1
