"""Objects: connected pixels of one class, or what a model separates; measured and placed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.data.files.spacing import Spacing
from segkit.errors import UsageError, did_you_mean
from segkit.separation.watershed import connected

Box = tuple[int, int, int, int]
# Classes of a network that tells touching objects apart by their outermost pixels.
CORE, BOUNDARY = 1, 2


@dataclass(frozen=True)
class Object:
    """Pixels that are one object: of one class and touching each other, or told by the model.

    number      in its image, from 1
    label       its class; name: that class's name
    area        pixels
    size        area in the square of the file's unit, where the file tells how large a pixel is
    unit        of `size`, as "µm²"; empty without
    centre      (y, x), the mean of its pixels' places; the first pixel of the image is at (0, 0)
    box         (top, left, bottom, right), pixels; bottom and right are the first beyond it
    at_border   whether it reaches the image's border, so that part of it may be missing
    mask_hw     its pixels within the box
    """

    number: int
    label: int
    name: str
    area: int
    size: float | None
    unit: str
    centre: tuple[float, float]
    box: Box
    at_border: bool
    mask_hw: NDArray[np.bool_]


def find_objects(
    label_HW: NDArray[np.integer],
    classes: Sequence[str],
    spacing: Spacing | None = None,
    least_area: int = 1,
    *,
    background: int = 0,
    number_HW: NDArray[np.integer] | None = None,
) -> tuple[Object, ...]:
    """The objects of every class but the background.

    least_area   smaller ones are left out, pixels
    background   the label of what is no object
    number_HW    which object each pixel belongs to, 0 none, where a model separates them: then each
                 is of the class that most of its pixels have

    Without, an object is what hangs together, class by class. Of a network with the classes
    background, foreground and boundary the boundary keeps touching objects apart: its pixels belong
    to the nearest foreground they hang together with.
    """
    found: list[Object] = []
    for mask_hw, box in _placed(label_HW, classes, background, number_HW):
        area = int(mask_hw.sum())
        if area < least_area:
            continue
        y_N, x_N = np.nonzero(mask_hw)
        top, left, bottom, right = box
        height, width = label_HW.shape
        label = _label(label_HW[top:bottom, left:right][mask_hw], classes)
        found.append(
            Object(
                number=len(found) + 1,
                label=label,
                name=classes[label],
                area=area,
                size=area * spacing.y * spacing.x if spacing else None,
                unit=f"{spacing.unit}\u00b2" if spacing else "",
                centre=(float(y_N.mean()) + top, float(x_N.mean()) + left),
                box=box,
                at_border=top == 0 or left == 0 or bottom == height or right == width,
                mask_hw=mask_hw,
            )
        )
    return tuple(found)


def numbered_map(objects: Sequence[Object], size: Sequence[int]) -> NDArray[np.unsignedinteger]:
    """(H, W) of this size, each object's number at its pixels, 0 elsewhere; 16 bits where they
    suffice, else 32."""
    most = max((each.number for each in objects), default=0)
    number_HW = np.zeros(tuple(size), np.uint16 if most < 2**16 else np.uint32)
    for each in objects:
        top, left, bottom, right = each.box
        number_HW[top:bottom, left:right][each.mask_hw] = each.number
    return number_HW


def background_label(wanted: str | int | None, classes: Sequence[str], recorded: int) -> int:
    """The label of the background that a user names, by its class or its number; else the one
    recorded. Raises UsageError SK-C009 for a class that there is not."""
    if wanted is None:
        return recorded
    known = {name: label for label, name in enumerate(classes)}
    known |= {str(label): label for label in range(len(classes))}
    if str(wanted) not in known:
        raise UsageError(
            "SK-C009",
            f"background is '{wanted}', and the model has no such class.",
            f"{did_you_mean(str(wanted), classes)}It has {', '.join(classes)}, or a number from 0 "
            f"to {len(classes) - 1}.",
        )
    return known[str(wanted)]


def _placed(
    label_HW: NDArray[np.integer],
    classes: Sequence[str],
    background: int,
    number_HW: NDArray[np.integer] | None,
) -> Iterator[tuple[NDArray[np.bool_], Box]]:
    """(mask within the box, box) of each object."""
    if number_HW is not None:
        yield from _parts(number_HW)
        return
    for connected_HW in _numbered(label_HW, classes, background):
        yield from _parts(connected_HW)


def _label(labels_N: NDArray[np.integer], classes: Sequence[str]) -> int:
    """The class that most of an object's pixels have; boundaries count as what they bound."""
    if separates_by_boundary(classes):
        return CORE
    return int(np.bincount(labels_N).argmax())


def separates_by_boundary(classes: Sequence[str]) -> bool:
    """Whether the classes are those of `--instances boundary`."""
    return len(classes) == 3 and classes[0] == "background" and classes[BOUNDARY] == "boundary"


def _numbered(
    label_HW: NDArray[np.integer], classes: Sequence[str], background: int
) -> Iterator[NDArray[np.int32]]:
    """A map of object numbers from 1 for each class that has objects."""
    if separates_by_boundary(classes):
        yield _by_boundary(label_HW)
        return
    for label in np.unique(label_HW):
        if label != background:
            yield connected(label_HW == label)


def _by_boundary(label_HW: NDArray[np.integer]) -> NDArray[np.int32]:
    core_HW, all_HW = label_HW == CORE, label_HW != 0
    number_HW, region_HW = connected(core_HW), connected(all_HW)
    if core_HW.any():
        _, nearest_HW = cv2.distanceTransformWithLabels(
            (~core_HW).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        # Of each core pixel's own label: its object and its region.
        object_of = np.zeros(int(nearest_HW.max()) + 1, np.int32)
        region_of = np.zeros_like(object_of)
        object_of[nearest_HW[core_HW]] = number_HW[core_HW]
        region_of[nearest_HW[core_HW]] = region_HW[core_HW]
        near_HW = (label_HW == BOUNDARY) & (region_of[nearest_HW] == region_HW)
        number_HW[near_HW] = object_of[nearest_HW[near_HW]]
    # Boundaries without a core of their own are objects too small to have one.
    alone_HW = all_HW & (number_HW == 0)
    number_HW[alone_HW] = connected(alone_HW)[alone_HW] + number_HW.max()
    return number_HW


def _parts(
    number_HW: NDArray[np.integer],
) -> Iterator[tuple[NDArray[np.bool_], Box]]:
    """(mask within the box, box) of each number, in the order of their first pixels."""
    places_N = np.flatnonzero(number_HW)
    numbers_N = number_HW.reshape(-1)[places_N]
    order_N = np.argsort(numbers_N, kind="stable")
    ends = np.flatnonzero(np.diff(numbers_N[order_N])) + 1
    width = number_HW.shape[1]
    groups = [each for each in np.split(places_N[order_N], ends) if len(each)]
    for place_N in sorted(groups, key=lambda each: int(each[0])):
        y_N, x_N = np.divmod(place_N, width)
        top, left, bottom, right = y_N.min(), x_N.min(), y_N.max() + 1, x_N.max() + 1
        mask_hw = np.zeros((bottom - top, right - left), dtype=bool)
        mask_hw[y_N - top, x_N - left] = True
        yield mask_hw, (int(top), int(left), int(bottom), int(right))
