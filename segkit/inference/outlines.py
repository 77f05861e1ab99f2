"""Objects as other programs take them: GeoJSON polygons, COCO run lengths; exact to the pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from segkit.inference.objects import Box, Object, numbered_map
from segkit.inference.tracing import Outline, by_number, outlines, runs_of


class Measured(Protocol):
    """What is told of an object beside its outline, as `Object` has it."""

    @property
    def number(self) -> int: ...
    @property
    def label(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def area(self) -> int: ...
    @property
    def size(self) -> float | None: ...
    @property
    def unit(self) -> str: ...
    @property
    def box(self) -> Box: ...


# What stands in a FeatureCollection before, between and after its features.
GEOJSON = '{"type": "FeatureCollection", "features": [', ", ", "]}"


def geojson(objects: Sequence[Object], palette: Sequence[Sequence[int]]) -> dict[str, Any]:
    """A FeatureCollection, a feature per object, as QuPath and GIS programs read it."""
    both = zip(objects, traced(objects), strict=True)
    features = [feature(each, outline, palette) for each, outline in both]
    return {"type": "FeatureCollection", "features": features}


def feature(
    each: Measured,
    outline: Outline,
    palette: Sequence[Sequence[int]],
    scale: tuple[float, float] = (1, 1),
) -> dict[str, Any]:
    """An object as a GeoJSON feature.

    Coordinates are pixels, (x, y) from the image's top left corner, y downwards; the outlines run
    along the pixels' edges, so that a polygon's area is its object's. `measurements` is a map of
    numbers by name, as QuPath writes it from 0.4 on and reads it.

    scale   (y, x), what coordinates are multiplied by
    """
    measured: dict[str, float] = {"area pixels": each.area}
    if each.size is not None:
        measured[f"area {each.unit}"] = float(f"{each.size:.7g}")
    return {
        "type": "Feature",
        "id": str(each.number),
        "geometry": _geometry(outline, scale),
        "properties": {
            "objectType": "annotation",
            "classification": {"name": each.name, "color": list(palette[each.label])},
            "area_pixels": each.area,
            "measurements": measured,
        },
    }


def coco_annotation(each: Measured, outline: Outline, height: int, width: int) -> dict[str, Any]:
    """An object as a COCO annotation with its run lengths; ids are put in by the caller."""
    top, left, bottom, right = each.box
    return {
        "category_id": each.label,
        "segmentation": {
            "size": [height, width],
            "counts": outline.run_lengths(height, width).tolist(),
        },
        "area": each.area,
        "bbox": [left, top, right - left, bottom - top],
        "iscrowd": 0,
    }


def traced(objects: Sequence[Object]) -> list[Outline]:
    """The outline of each of an image's objects."""
    ends = np.array([(0, 0), *(each.box[2:] for each in objects)])
    number_HW = numbered_map(objects, ends.max(axis=0))
    numbers, runs = by_number(*runs_of(number_HW))
    of_number = dict(zip(numbers, outlines(runs), strict=True))
    return [of_number[each.number] for each in objects]


def _geometry(outline: Outline, scale: tuple[float, float]) -> dict[str, Any]:
    parts: list[Any] = [
        [[[x, y] for x, y in [*ring, ring[0]]] for ring in part] for part in outline.polygons()
    ]
    if scale != (1, 1):
        parts = [[_scaled(ring, scale) for ring in part] for part in parts]
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _scaled(ring: Sequence[Sequence[int]], scale: tuple[float, float]) -> list[list[float]]:
    """At places of another level, to a thousandth of its pixel; whole numbers stay so."""
    at = [[round(x * scale[1], 3), round(y * scale[0], 3)] for x, y in ring]
    return [[int(value) if value == int(value) else value for value in point] for point in at]
