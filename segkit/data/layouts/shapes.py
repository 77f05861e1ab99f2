"""Shapes to masks: polygons, and the run lengths of COCO."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def fill_polygon(mask_HW: np.ndarray, points: Sequence[float], label: int) -> None:
    """Draws x1, y1, x2, y2, … into a mask, in place: the pixels whose middles lie inside.

    The first pixel's middle is at 0.5. Where the outline crosses itself, inside is what is enclosed
    an odd number of times.
    """
    # OpenCV's fillPoly would draw the outline too, and so make every object half a pixel fatter.
    corners_N2 = np.asarray(points, np.float64).reshape(-1, 2)
    x_N, y_N = corners_N2.T
    next_x_N, next_y_N = np.roll(corners_N2, -1, axis=0).T
    first, last = max(0, int(y_N.min())), min(mask_HW.shape[0], int(np.ceil(y_N.max())))
    for row in range(first, last):
        middle = row + 0.5
        crossed = (y_N <= middle) != (next_y_N <= middle)
        share = (middle - y_N[crossed]) / (next_y_N - y_N)[crossed]
        crossings = np.sort(x_N[crossed] + share * (next_x_N - x_N)[crossed])
        edges = np.clip(np.ceil(crossings - 0.5), 0, mask_HW.shape[1]).astype(int).tolist()
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            mask_HW[row, start:end] = label


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
