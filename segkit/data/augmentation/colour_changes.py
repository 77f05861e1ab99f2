"""Changes of colour, for images of any depth and number of channels.

Contrast, brightness, tint and saturation are one matrix per image, so that OpenCV passes over the
pixels once; gamma, blur and noise follow where the preset has them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np

from segkit.data.augmentation.presets import Preset

# The table of noise: how many values, which byte is 0, and steps of a byte to the deviation.
NOISE_VALUES, NOISE_MIDDLE, NOISE_STEPS = 2**21, 128, 32


def change_colours(
    image_HWC: np.ndarray,
    preset: Preset,
    rng: np.random.Generator,
    into_HWC: np.ndarray | None = None,
) -> np.ndarray:
    """The image with its colours changed as preset and generator say; type and shape stay.

    into_HWC   where the result may be written, of its type and shape; it need not be
    """
    top = _white(image_HWC)
    if preset.contrast or preset.brightness or preset.tint or preset.saturation:
        image_HWC = _mix(image_HWC, _matrix(image_HWC, top, preset, rng), into_HWC)
    if preset.gamma:
        exponent = rng.uniform(1 - preset.gamma, 1 + preset.gamma)
        image_HWC = _gamma(image_HWC, exponent, top)
    if preset.blur and rng.random() < preset.blur:
        sigma = rng.uniform(0.3, 1.2)
        image_HWC = by_channels(image_HWC, lambda part: cv2.GaussianBlur(part, (0, 0), sigma))
    if preset.noise and rng.random() < preset.noise:
        image_HWC = _noisy(image_HWC, rng.uniform(0, 0.03) * top, rng)
    return image_HWC


def by_channels(image_HWC: np.ndarray, work: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`work` on at most four channels at a time, which is what OpenCV takes everywhere."""
    channels = image_HWC.shape[2]
    if channels <= 4:
        part = work(image_HWC)
        return part if part.ndim == 3 else part[:, :, None]
    parts = [by_channels(image_HWC[:, :, c : c + 4], work) for c in range(0, channels, 4)]
    return np.concatenate(parts, axis=2)


def _matrix(
    image_HWC: np.ndarray, top: float, preset: Preset, rng: np.random.Generator
) -> np.ndarray:
    """(C, C + 1): each new channel as a sum of the old ones and a constant."""
    channels = image_HWC.shape[2]
    # Every fourth row tells the mean well enough to turn the contrast about it.
    some_HWC = image_HWC[::4]
    total = sum(cv2.sumElems(some_HWC)) if channels <= 4 else float(some_HWC.sum())
    mean = total / some_HWC.size
    # Plain numbers: for so few, arrays take longer to make than to compute.
    draws = (2 * rng.random(3 + channels) - 1).tolist()
    contrast, saturation = 1 + preset.contrast * draws[0], 1 + preset.saturation * draws[2]
    constant = mean - contrast * mean + preset.brightness * top * draws[1]
    tints = [1 + preset.tint * draw if channels > 1 else 1.0 for draw in draws[3:]]
    # What each channel gives to another, and to itself.
    other, own = 0.0, contrast
    if channels == 3:
        other = contrast * (1 - saturation) / 3
        own = other + contrast * saturation
    return np.array(
        [
            [*(tint * (own if c == row else other) for c in range(channels)), tint * constant]
            for row, tint in enumerate(tints)
        ]
    )


def _mix(
    image_HWC: np.ndarray, matrix: np.ndarray, into_HWC: np.ndarray | None = None
) -> np.ndarray:
    channels = image_HWC.shape[2]
    if channels <= 4:
        return by_channels(image_HWC, lambda part: cv2.transform(part, matrix, dst=into_HWC))
    # Beyond four channels none is mixed with another, and each is done alone.
    parts = [
        cv2.transform(np.ascontiguousarray(image_HWC[:, :, c]), matrix[c : c + 1, [c, channels]])
        for c in range(channels)
    ]
    return np.stack(parts, axis=2)


def _gamma(image_HWC: np.ndarray, exponent: float, top: float) -> np.ndarray:
    if image_HWC.dtype == np.uint8:
        ramp = np.arange(256) / 255
        table = np.rint(255 * ramp**exponent).astype(np.uint8)
        return by_channels(image_HWC, lambda part: cv2.LUT(part, table))
    share_HWC = np.maximum(image_HWC.astype(np.float32), 0) / np.float32(top)
    return _like(np.float32(top) * share_HWC ** np.float32(exponent), image_HWC)


def _noisy(image_HWC: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """The image with Gaussian noise of this standard deviation on every value."""
    if image_HWC.dtype == np.uint8 and image_HWC.size < NOISE_VALUES:
        # Normal numbers take longer to draw than all else together: a place in a table of them.
        start = int(rng.random() * (NOISE_VALUES - image_HWC.size))
        noise_HWC = noise_table()[start : start + image_HWC.size].reshape(image_HWC.shape)
        factor = strength / NOISE_STEPS
        mixed = cv2.addWeighted(image_HWC, 1, noise_HWC, factor, -NOISE_MIDDLE * factor)
        return mixed.reshape(image_HWC.shape)
    noise_HWC = rng.standard_normal(image_HWC.shape, dtype=np.float32)
    return _like(image_HWC + np.float32(strength) * noise_HWC, image_HWC)


@cache
def noise_table() -> np.ndarray:
    """Gaussian numbers as bytes, the same in every process."""
    numbers = np.random.default_rng(0).standard_normal(NOISE_VALUES, dtype=np.float32)
    return np.rint(NOISE_MIDDLE + NOISE_STEPS * numbers).clip(0, 255).astype(np.uint8)


def _white(image_HWC: np.ndarray) -> float:
    """255 for 8 bits; else the crop's highest value: deeper images rarely use their range."""
    return 255.0 if image_HWC.dtype == np.uint8 else max(float(np.abs(image_HWC).max()), 1e-6)


def _like(values: np.ndarray, model: np.ndarray) -> np.ndarray:
    """The values in the model's type; rounded and kept within a whole-number type."""
    if model.dtype.kind != "u":
        return values.astype(model.dtype)
    return np.rint(values).clip(0, np.iinfo(model.dtype).max).astype(model.dtype)
