"""Annotations as drawings: classes, and for each image how its mask is drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segkit.data.files.reading import declaring
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


def refuse_many(classes: int, source: Path, settings_file: Path | None = None) -> None:
    """Raises DataError SK-D009 for no classes, or more than a mask of 8 bits holds.

    settings_file   the data.yaml that may name them; None where categories do
    """
    if not 1 <= classes <= MOST_CLASSES:
        named = "List them as its categories."
        if settings_file is not None:
            named = f"Name those that are wanted: {naming(('car', 'tree'), settings_file)}."
        what = f"{source} names {classes} classes, and between 1 and {MOST_CLASSES} can be drawn."
        raise DataError("SK-D009", what, named)


def unnamed(who: str, label: str, names: Sequence[str], settings_file: Path) -> DataError:
    """SK-D012 for a label of annotations that is not among the names given."""
    return DataError(
        "SK-D012",
        f"{who} '{label}', which is not among the {len(names)} names given.",
        f"If it is a class, name it: {naming((*names, label), settings_file)}.",
    )


def naming(names: Sequence[str], settings_file: Path) -> str:
    """How to say what the classes are called: the option to paste, and the line of data.yaml."""
    listed = ", ".join(json.dumps(name, ensure_ascii=False) for name in names)
    return declaring(f"names: [{listed}]", settings_file)


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
