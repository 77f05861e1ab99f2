"""Annotations as drawings: classes, and for each image how its mask is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segkit.data.layouts.shapes import fill_polygon, polygon_area
from segkit.errors import DataError

BACKGROUND = "background"
MOST_CLASSES = 254


@dataclass(frozen=True)
class Drawing:
    """An image and how to draw its mask: (H, W) uint8 for the size given."""

    id: str
    image: Path
    draw: Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class Drawings:
    """A data set of annotations: classes in label order (0 is background), drawings by split."""

    kind: str
    classes: tuple[str, ...]
    splits: Mapping[str, tuple[Drawing, ...]]


@dataclass(frozen=True)
class Area:
    """One object: its label, its size in pixels, and how it is drawn."""

    label: int
    size: float
    draw: Callable[[np.ndarray], None]


def refuse_many(classes: int, source: Path) -> None:
    """Raises DataError SK-D009 for no classes, or more than a mask of 8 bits holds."""
    if not 1 <= classes <= MOST_CLASSES:
        raise DataError(
            "SK-D009",
            f"{source} names {classes} classes, and between 1 and {MOST_CLASSES} can be drawn.",
            "List them as `names` in data.yaml, or as categories.",
        )


def drawn(areas: Sequence[Area], height: int, width: int) -> np.ndarray:
    """(H, W) uint8, the smaller objects on top."""
    mask_HW = np.zeros((height, width), np.uint8)
    for area in sorted(areas, key=lambda area: -area.size):
        area.draw(mask_HW)
    return mask_HW


def polygons(label: int, outlines: Sequence[Sequence[float]]) -> Area:
    """An object of one or several polygons, each x1, y1, x2, y2, …"""

    def paint(mask_HW: np.ndarray) -> None:
        for points in outlines:
            fill_polygon(mask_HW, points, label)

    return Area(label, sum(polygon_area(points) for points in outlines), paint)
