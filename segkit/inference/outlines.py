"""Objects as other programs take them: GeoJSON polygons, COCO run lengths; exact to the pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.inference.objects import Object

Point = tuple[int, int]
Ring = list[Point]


def geojson(objects: Sequence[Object], palette: Sequence[Sequence[int]]) -> dict[str, Any]:
    """A FeatureCollection, a feature per object, as QuPath and GIS programs read it.

    Coordinates are pixels, (x, y) from the image's top left corner, y downwards; the outlines run
    along the pixels' edges, so that a polygon's area is its object's.
    """
    features = [
        {
            "type": "Feature",
            "id": str(each.number),
            "geometry": _geometry(each),
            "properties": {
                "objectType": "annotation",
                "classification": {"name": each.name, "color": list(palette[each.label])},
                "area_pixels": each.area,
            },
        }
        for each in objects
    ]
    return {"type": "FeatureCollection", "features": features}


def coco_annotation(each: Object, height: int, width: int) -> dict[str, Any]:
    """An object as a COCO annotation with its run lengths; ids are put in by the caller."""
    top, left, bottom, right = each.box
    y_N, x_N = np.nonzero(each.mask_hw.T)[::-1]
    place_N = (x_N + left) * height + y_N + top
    starts_N = place_N[np.diff(place_N, prepend=-2) != 1]
    ends_N = place_N[np.diff(place_N, append=-2) != 1] + 1
    edges = np.stack([starts_N, ends_N], axis=1).reshape(-1)
    counts = np.diff(edges, prepend=0, append=height * width)
    return {
        "category_id": each.label,
        "segmentation": {"size": [height, width], "counts": counts.tolist()},
        "area": each.area,
        "bbox": [left, top, right - left, bottom - top],
        "iscrowd": 0,
    }


def _geometry(each: Object) -> dict[str, Any]:
    top, left = each.box[:2]
    rings = outlines(each.mask_hw)
    outer = [ring for ring in rings if doubled_area(ring) > 0]
    parts = [[ring] for ring in outer]
    for hole in (ring for ring in rings if doubled_area(ring) < 0):
        parts[_holder(hole, outer)].append(hole)
    polygons = [
        [[[x + left, y + top] for x, y in [*ring, ring[0]]] for ring in part] for part in parts
    ]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def outlines(mask_hw: NDArray[np.bool_]) -> list[Ring]:
    """Rings along the pixels' edges, none of which touches itself; holes run the other way round.

    The object lies on the right hand of one who walks along a ring, y being downwards.
    """
    following = _edges(mask_hw)
    rings = []
    while following:
        path: Ring = [next(iter(following))]
        place_of = {path[0]: 0}
        while path:
            here = path[-1]
            ends = following.get(here)
            if ends is None:
                break
            there = ends.pop()
            if not ends:
                del following[here]
            if there in place_of:
                at = place_of[there]
                rings.append(_straightened(path[at:]))
                for point in path[at + 1 :]:
                    del place_of[point]
                del path[at + 1 :]
            else:
                place_of[there] = len(path)
                path.append(there)
    return rings


def doubled_area(ring: Ring) -> int:
    """Twice the area that a ring holds, below 0 for a hole."""
    return sum(x * v - u * y for (x, y), (u, v) in zip(ring, [*ring[1:], ring[0]], strict=True))


def _edges(mask_hw: NDArray[np.bool_]) -> dict[Point, list[Point]]:
    """Where each edge between object and background that begins at a corner ends."""
    padded = np.pad(mask_hw, 1)
    inside = padded[1:-1, 1:-1]
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),  # above
        (padded[1:-1, 2:], (1, 0), (1, 1)),  # at the right
        (padded[2:, 1:-1], (1, 1), (0, 1)),  # below
        (padded[1:-1, :-2], (0, 1), (0, 0)),  # at the left
    )
    following: dict[Point, list[Point]] = {}
    for beside, begin, end in sides:
        y_N, x_N = np.nonzero(inside & ~beside)
        for x, y in zip(x_N.tolist(), y_N.tolist(), strict=True):
            corner = (x + begin[0], y + begin[1])
            following.setdefault(corner, []).append((x + end[0], y + end[1]))
    return following


def _straightened(ring: Ring) -> Ring:
    """Without the corners at which the ring goes straight on."""
    before = [ring[-1], *ring[:-1]]
    after = [*ring[1:], ring[0]]
    return [
        here
        for here, one, two in zip(ring, before, after, strict=True)
        if (here[0] - one[0]) * (two[1] - here[1]) != (here[1] - one[1]) * (two[0] - here[0])
    ]


def _holder(hole: Ring, outer: Sequence[Ring]) -> int:
    """Which of the outer rings the hole lies in."""
    (x, y), (u, v) = hole[0], hole[1]
    dx, dy = np.sign(u - x), np.sign(v - y)
    # The middle of the hole's pixel beside its first edge, on the left hand.
    inside = (float(x + (dx + dy) / 2), float(y + (dy - dx) / 2))
    for place, ring in enumerate(outer):
        if cv2.pointPolygonTest(np.array(ring, np.float32), inside, measureDist=False) > 0:
            return place
    return 0
