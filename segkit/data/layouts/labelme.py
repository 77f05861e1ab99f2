"""LabelMe: a JSON file beside each image, with polygons, rectangles and circles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segkit.data.layouts.drawings import (
    BACKGROUND,
    Drawing,
    Drawings,
    drawn,
    polygons,
    refuse_many,
    unnamed,
)
from segkit.data.layouts.layout import SPLITS
from segkit.data.layouts.named_images import NamedImages
from segkit.data.settings import find_settings
from segkit.errors import DataError
from segkit.storage import read_json

CORNERS_OF_A_CIRCLE = 64
LOOKED_AT = 20
# What LabelMe itself calls what is no object.
NO_OBJECT = ("_background_", "__ignore__")


def labelme(source: Path, declare: str | None = None) -> Drawings | None:
    """The annotated images below a folder; None where there are none.

    Classes are the `names` of a data.yaml, else all labels by alphabet. Images without a JSON file
    are left out: they may not have been looked at yet.
    """
    every = sorted(source.rglob("*.json"))
    # Other sets hold thousands of JSON files; theirs are none of ours.
    if not any(_is_ours(file) for file in every[:LOOKED_AT]):
        return None
    files = [file for file in every if _is_ours(file)]
    contents = {file: read_json(file) for file in files}
    used = {shape["label"] for content in contents.values() for shape in content["shapes"]}
    settings = find_settings(source, declare)
    declared = tuple(n for n in settings.names if n != BACKGROUND)
    names = declared or tuple(sorted(used - {*NO_OBJECT, BACKGROUND}))
    refuse_many(len(names), source, settings.to_write)
    label_of = {name: label for label, name in enumerate((BACKGROUND, *names))}
    for file, content in contents.items():
        for shape in content["shapes"]:
            if shape["label"] not in (*label_of, *NO_OBJECT):
                raise unnamed(f"{file} says", shape["label"], names, settings.to_write)
    images = NamedImages(source)
    splits: dict[str, list[Drawing]] = {}
    for file, content in contents.items():
        drawing = _drawing(file, content, label_of, images)
        splits.setdefault(_split_of(file, source), []).append(drawing)
    return Drawings("LabelMe", (BACKGROUND, *names), {s: tuple(d) for s, d in splits.items()})


def _is_ours(file: Path) -> bool:
    try:
        content = read_json(file)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "imagePath" in content and "shapes" in content


def _split_of(file: Path, source: Path) -> str:
    first = file.relative_to(source).parts[0]
    return first if first in SPLITS else "all"


def _drawing(
    file: Path, content: Mapping[str, Any], label_of: Mapping[str, int], images: NamedImages
) -> Drawing:
    # LabelMe remembers where the image lay; after a move it mostly lies beside the JSON file.
    name = content["imagePath"].replace("\\", "/").rpartition("/")[2]
    image = file.parent / name
    if not image.is_file():
        image = images.find(content["imagePath"], file)
    source = images.folder

    def draw(height: int, width: int) -> np.ndarray:
        shapes = [shape for shape in content["shapes"] if shape["label"] not in NO_OBJECT]
        areas = [polygons(label_of[shape["label"]], [_outline(file, shape)]) for shape in shapes]
        return drawn(areas, height, width)

    below, split = image.relative_to(source).with_suffix(""), _split_of(file, source)
    if split != "all" and below.is_relative_to(split):
        below = below.relative_to(split)
    return Drawing(below.as_posix(), image, draw)


def _outline(file: Path, shape: Mapping[str, Any]) -> list[float]:
    """x1, y1, x2, y2, … around a shape; raises DataError SK-D009 for lines and points."""
    kind = shape.get("shape_type", "polygon")
    try:
        points = np.asarray(shape["points"], np.float64).reshape(-1, 2)
        return OUTLINES[kind](points).ravel().tolist()
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise DataError(
            "SK-D009",
            f"{file} holds a {kind} of '{shape['label']}' that has no area segkit can draw.",
            f"Draw it as one of {', '.join(OUTLINES)}, or delete it.",
        ) from error


def _polygon(points: np.ndarray) -> np.ndarray:
    if len(points) < 3:
        raise ValueError("a polygon has three corners or more")
    return points


def _rectangle(points: np.ndarray) -> np.ndarray:
    (left, top), (right, bottom) = points
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _circle(points: np.ndarray) -> np.ndarray:
    """From its middle and a point on it."""
    middle, rim = points
    angles = np.linspace(0, 2 * np.pi, CORNERS_OF_A_CIRCLE, endpoint=False)
    radius = float(np.hypot(*(rim - middle)))
    corners: np.ndarray = middle + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return corners


OUTLINES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "circle": _circle,
}
