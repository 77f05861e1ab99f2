"""Changes of colour, for images of any depth and number of channels.

Contrast, brightness, tint and saturation are one matrix per image, so that OpenCV passes over the
pixels once; gamma, blur and noise follow where the recipe has them.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import cv2
import numpy as np

from segkit.data.augmentation.recipes import Recipe

# The middles of 256 equally likely parts of a normal distribution, scaled to a deviation of 1.
NORMAL = np.array([NormalDist().inv_cdf((part + 0.5) / 256) for part in range(256)])
NORMAL /= NORMAL.std()


def change_colours(image_HWC: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """The image with its colours changed as recipe and generator say; type and shape stay."""
    top = _white(image_HWC)
    if recipe.contrast or recipe.brightness or recipe.tint or recipe.saturation:
        image_HWC = _mix(image_HWC, _matrix(image_HWC, top, recipe, rng))
    if recipe.gamma:
        exponent = rng.uniform(1 - recipe.gamma, 1 + recipe.gamma)
        image_HWC = _gamma(image_HWC, exponent, top)
    if recipe.blur and rng.random() < recipe.blur:
        sigma = rng.uniform(0.3, 1.2)
        image_HWC = by_channels(image_HWC, lambda part: cv2.GaussianBlur(part, (0, 0), sigma))
    if recipe.noise and rng.random() < recipe.noise:
        image_HWC = _noisy(image_HWC, rng.uniform(0, 0.03) * top, rng)
    return image_HWC


def by_channels(image_HWC: np.ndarray, work: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`work` on at most four channels at a time, which is what OpenCV takes everywhere."""
    parts = []
    for first in range(0, image_HWC.shape[2], 4):
        part = work(image_HWC[:, :, first : first + 4])
        parts.append(part[:, :, None] if part.ndim == 2 else part)
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _matrix(
    image_HWC: np.ndarray, top: float, recipe: Recipe, rng: np.random.Generator
) -> np.ndarray:
    """(C, C + 1): each new channel as a sum of the old ones and a constant."""
    channels = image_HWC.shape[2]
    mean = float(np.mean(cv2.mean(image_HWC)[:channels] if channels <= 4 else image_HWC))
    contrast = rng.uniform(1 - recipe.contrast, 1 + recipe.contrast)
    shift = rng.uniform(-recipe.brightness, recipe.brightness) * top
    tint = recipe.tint if channels > 1 else 0.0
    tints_C = np.asarray(rng.uniform(1 - tint, 1 + tint, channels))
    saturation = rng.uniform(1 - recipe.saturation, 1 + recipe.saturation)
    mixed_CC = np.eye(channels)
    if channels == 3:
        mixed_CC = saturation * mixed_CC + (1 - saturation) / 3
    constant_C1 = tints_C[:, None] * (mean - contrast * mean + shift)
    return np.hstack([tints_C[:, None] * contrast * mixed_CC, constant_C1])


def _mix(image_HWC: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    channels = image_HWC.shape[2]
    if channels <= 4:
        return by_channels(image_HWC, lambda part: cv2.transform(part, matrix))
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
    if image_HWC.dtype == np.uint8:
        # Bytes are drawn twenty times as fast as normal numbers, and the sum is rounded anyway.
        table = np.rint(strength * NORMAL).astype(np.int16)
        drawn_HWC = np.frombuffer(rng.bytes(image_HWC.size), np.uint8).reshape(image_HWC.shape)
        noise_HWC = by_channels(drawn_HWC, lambda part: cv2.LUT(part, table))
        return cv2.add(image_HWC, noise_HWC, dtype=cv2.CV_8U).reshape(image_HWC.shape)
    noise_HWC = rng.standard_normal(image_HWC.shape, dtype=np.float32)
    return _like(image_HWC + np.float32(strength) * noise_HWC, image_HWC)


def _white(image_HWC: np.ndarray) -> float:
    """255 for 8 bits; else the crop's highest value: deeper images rarely use their range."""
    return 255.0 if image_HWC.dtype == np.uint8 else max(float(np.abs(image_HWC).max()), 1e-6)


def _like(values: np.ndarray, model: np.ndarray) -> np.ndarray:
    """The values in the model's type; rounded and kept within a whole-number type."""
    if model.dtype.kind != "u":
        return values.astype(model.dtype)
    return np.rint(values).clip(0, np.iinfo(model.dtype).max).astype(model.dtype)
