"""Shapes to masks: polygons, and the run lengths of COCO."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

# cv2 takes whole numbers; with so many bits for the fraction, a sixteenth of a pixel is kept.
FRACTION_BITS = 4


def fill_polygon(mask_HW: np.ndarray, points: Sequence[float], label: int) -> None:
    """Draws x1, y1, x2, y2, … into a uint8 mask, in place; the first pixel's middle is at 0.5."""
    corners = np.asarray(points, np.float64).reshape(-1, 2) - 0.5
    fixed = np.rint(corners * (1 << FRACTION_BITS)).astype(np.int32)
    cv2.fillPoly(mask_HW, [fixed], label, shift=FRACTION_BITS)


def polygon_area(points: Sequence[float]) -> float:
    """The area a polygon encloses, square pixels (Gauss's formula)."""
    corners = np.asarray(points, np.float64).reshape(-1, 2)
    x, y = corners[:, 0], corners[:, 1]
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def from_run_lengths(counts: Sequence[int] | str, height: int, width: int) -> np.ndarray:
    """(H, W) bool from COCO's run lengths: down the columns, background first.

    counts   the lengths, or their text form; raises ValueError where they do not fill the image
    """
    lengths = unpack_lengths(counts) if isinstance(counts, str) else list(counts)
    if sum(lengths) != height * width or min(lengths, default=0) < 0:
        raise ValueError(f"run lengths of {sum(lengths)} pixels, but {height * width} in the image")
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(width, height).T


def unpack_lengths(text: str) -> list[int]:
    """COCO's text form: numbers in groups of 5 bits from character 48 on, lowest group first.

    The sixth bit says that more groups follow; from the fourth number on, the difference to the
    number two before is stored.
    """
    lengths: list[int] = []
    number = shift = 0
    for character in text:
        group = ord(character) - 48
        number |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            number -= 1 << shift
        lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
        number = shift = 0
    return lengths
