"""Augmentation of image and mask together, on arrays, before anything becomes a tensor.

Geometry first (crop, scale, rotation, flips), on image and mask alike, the mask by nearest
neighbour; then colour, on the image alone. Where a crop reaches beyond the picture, the image is
reflected and the mask is the ignored label. Any depth and any number of channels; the same
generator gives the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import cv2
import numpy as np

from segkit.data.augmentation.colour_changes import by_channels, change_colours
from segkit.data.augmentation.recipes import Recipe
from segkit.errors import SegkitError
from segkit.interfaces import Sample

# What the loss ignores where the data themselves have no ignored label.
IGNORE_FREE = 255
IGNORE_MANY_CLASSES = -100


class Labelled(Protocol):
    """What a data set, or a split of it, says of its labels."""

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def ignore_index(self) -> int | None: ...


def training_ignore_index(dataset: Labelled) -> int:
    """The label that training ignores: the data set's own, else one that no class has.

    Crops that reach beyond a picture need such a label even where the masks have none: 255, or -100
    where there are more than 255 classes.
    """
    if dataset.ignore_index is not None:
        return int(dataset.ignore_index)
    return IGNORE_FREE if len(dataset.classes) <= IGNORE_FREE else IGNORE_MANY_CLASSES


def augment(
    sample: Sample, size: int, recipe: Recipe, ignore_index: int, rng: np.random.Generator
) -> Sample:
    """A crop of size x size pixels, augmented; the sample itself is not modified."""
    if sample.mask is None:
        raise ValueError(f"{sample.id} has no mask")
    image_HWC, planes = sample.image, _Planes(sample.mask, sample.instances, ignore_index)
    image_HWC, planes = _crop(image_HWC, planes, size, recipe, rng)
    image_HWC, planes = _flip(image_HWC, planes, recipe, rng)
    image_HWC = change_colours(image_HWC, recipe, rng)
    mask_HW, instances_HW = planes.as_stored()
    return fitting(
        Sample(np.ascontiguousarray(image_HWC), mask_HW, sample.id, instances_HW), size, sample
    )


def fitting(crop: Sample, size: int, stored: Sample) -> Sample:
    """The crop, where image and mask have its size and the types they had before.

    Raises SegkitError SK-D030, which is a fault of the augmentation and not of the data.
    """
    planes = [crop.image, crop.mask, crop.instances]
    shapes = [plane.shape[:2] for plane in planes if plane is not None]
    types = [str(plane.dtype) for plane in planes if plane is not None]
    wanted = [str(stored.image.dtype)] + ["int64"] * (len(types) - 1)
    if crop.mask is None or set(shapes) != {(size, size)} or types != wanted:
        told = ", ".join(f"{kind} {shape}" for kind, shape in zip(types, shapes, strict=True))
        raise SegkitError(
            "SK-D030",
            f"augmentation made {told} of {stored.id}, not squares of {size} with a mask of int64.",
            "Report it, with the data set's kind and the settings; until then: "
            "--augmentation none.",
        )
    return crop


class _Planes:
    """Mask and object numbers, in a type that OpenCV moves without rounding."""

    def __init__(
        self, mask_HW: np.ndarray, instances_HW: np.ndarray | None, ignore_index: int
    ) -> None:
        self.ignore_index = ignore_index
        self.mask = mask_HW.astype(_exact_type(mask_HW, ignore_index))
        self.instances = (
            None if instances_HW is None else instances_HW.astype(_exact_type(instances_HW, 0))
        )

    def map(self, move: Callable[[np.ndarray, int], np.ndarray]) -> _Planes:
        """`move(plane, fill)` on both."""
        moved = object.__new__(_Planes)
        moved.ignore_index = self.ignore_index
        moved.mask = move(self.mask, self.ignore_index)
        moved.instances = None if self.instances is None else move(self.instances, 0)
        return moved

    def as_stored(self) -> tuple[np.ndarray, np.ndarray | None]:
        instances = None if self.instances is None else self.instances.astype(np.int64)
        return self.mask.astype(np.int64), instances


def _exact_type(plane_HW: np.ndarray, extra: int) -> type[np.generic]:
    """The smallest type OpenCV resamples that holds every value exactly (up to 2**53)."""
    low, high = min(int(plane_HW.min()), extra), max(int(plane_HW.max()), extra)
    for kind in (np.uint8, np.int16):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return kind
    return np.float64


def _crop(
    image_HWC: np.ndarray,
    planes: _Planes,
    size: int,
    recipe: Recipe,
    rng: np.random.Generator,
) -> tuple[np.ndarray, _Planes]:
    """A random square of the picture, scaled (and turned, and deformed) to size x size."""
    height, width = image_HWC.shape[:2]
    low, high = recipe.scale
    # A picture is not shrunk below the crop: what lies beyond it teaches nothing.
    low = max(low, min(1.0, size / min(height, width)))
    scale = float(np.exp(rng.uniform(np.log(low), np.log(high)))) if low < high else low
    side = max(1, round(size / scale))
    point = _point(planes.mask, recipe, planes.ignore_index, rng)
    top, left = (
        _place(height, side, rng, point and point[0]),
        _place(width, side, rng, point and point[1]),
    )
    if recipe.rotation or recipe.elastic:
        return _warp(image_HWC, planes, size, (top, left, side), recipe, rng)
    image_HWC = _cut(image_HWC, top, left, side, fill=None)
    planes = planes.map(lambda plane, fill: _cut(plane, top, left, side, fill))
    if side == size:
        return image_HWC, planes
    smaller = size < side
    image_HWC = by_channels(
        image_HWC,
        lambda part: cv2.resize(
            part, (size, size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        ),
    )
    planes = planes.map(
        lambda plane, _: cv2.resize(plane, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
    )
    return image_HWC, planes


def _point(
    mask_HW: np.ndarray, recipe: Recipe, ignore_index: int, rng: np.random.Generator
) -> tuple[int, int] | None:
    """The pixel (y, x) that the crop is to show, or None for a crop anywhere."""
    if recipe.aim == "anywhere" or (recipe.aim == "foreground" and rng.random() < 0.5):
        return None
    counted_HW = mask_HW != ignore_index
    if recipe.aim == "foreground":
        wanted_HW = counted_HW & (mask_HW != 0)
    else:
        present = np.unique(mask_HW[counted_HW])
        wanted_HW = mask_HW == (rng.choice(present) if len(present) else ignore_index)
    places = np.flatnonzero(wanted_HW)
    if not len(places):
        return None
    y, x = divmod(int(rng.choice(places)), mask_HW.shape[1])
    return y, x


def _place(length: int, side: int, rng: np.random.Generator, pixel: int | None) -> int:
    """Where the crop starts on one axis: anywhere inside, or around where it is larger.

    pixel   shown in the middle, or as near to it as the picture's edges allow
    """
    low, high = sorted((0, length - side))
    if pixel is not None:
        return min(max(pixel - side // 2, low), high)
    return int(rng.integers(low, high + 1))


def _cut(array: np.ndarray, top: int, left: int, side: int, fill: int | None) -> np.ndarray:
    """The square, reflected (fill None) or filled where it reaches beyond the array."""
    height, width = array.shape[:2]
    inside = array[max(top, 0) : top + side, max(left, 0) : left + side]
    above, before = max(-top, 0), max(-left, 0)
    below, behind = max(top + side - height, 0), max(left + side - width, 0)
    if not (above or below or before or behind):
        return inside
    pads = ((above, below), (before, behind), (0, 0))[: array.ndim]
    if fill is None:
        # np.pad cannot reflect an axis of a single pixel.
        mode = "reflect" if min(inside.shape[:2]) > 1 else "edge"
        return np.pad(inside, pads, mode=mode)  # type: ignore[call-overload]
    return np.pad(inside, pads, constant_values=fill)


def _warp(
    image_HWC: np.ndarray,
    planes: _Planes,
    size: int,
    box: tuple[int, int, int],
    recipe: Recipe,
    rng: np.random.Generator,
) -> tuple[np.ndarray, _Planes]:
    """The square turned and deformed: one resampling from the stored pixels."""
    top, left, side = box
    step = side / size
    y_HW, x_HW = np.mgrid[0:size, 0:size].astype(np.float32)
    if recipe.elastic:
        y_HW += _bumps(size, recipe.elastic * size, rng)
        x_HW += _bumps(size, recipe.elastic * size, rng)
    angle = np.deg2rad(rng.uniform(-recipe.rotation, recipe.rotation)) if recipe.rotation else 0.0
    middle = (size - 1) / 2
    y_HW, x_HW = y_HW - middle, x_HW - middle
    turned_y = np.cos(angle) * y_HW - np.sin(angle) * x_HW
    turned_x = np.sin(angle) * y_HW + np.cos(angle) * x_HW
    from_y = (turned_y * step + top + (side - 1) / 2).astype(np.float32)
    from_x = (turned_x * step + left + (side - 1) / 2).astype(np.float32)
    if step > 1.5:
        # Sampling every second pixel or fewer would alias: smooth by what is skipped.
        image_HWC = by_channels(image_HWC, lambda p: cv2.GaussianBlur(p, (0, 0), step / 3))
    moved_HWC = by_channels(
        image_HWC,
        lambda p: cv2.remap(p, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101),
    )
    near_y, near_x = np.rint(from_y), np.rint(from_x)
    return moved_HWC, planes.map(lambda plane, fill: _nearest(plane, near_y, near_x, fill))


def _nearest(plane: np.ndarray, y_HW: np.ndarray, x_HW: np.ndarray, fill: int) -> np.ndarray:
    return cv2.remap(
        plane, x_HW, y_HW, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
    )


def _bumps(size: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random displacement along one axis: a coarse grid, bicubically enlarged."""
    coarse = rng.normal(0, spread, (3, 3)).clip(-2 * spread, 2 * spread).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def _flip(
    image_HWC: np.ndarray, planes: _Planes, recipe: Recipe, rng: np.random.Generator
) -> tuple[np.ndarray, _Planes]:
    turns: list[Callable[[np.ndarray], np.ndarray]] = []
    if recipe.flips in ("horizontal", "both") and rng.random() < 0.5:
        turns.append(lambda array: array[:, ::-1])
    if recipe.flips == "both" and rng.random() < 0.5:
        turns.append(lambda array: array[::-1])
    if recipe.quarters:
        quarters = int(rng.integers(4))
        turns.append(lambda array: np.rot90(array, quarters))
    for turn in turns:
        image_HWC = turn(image_HWC)
        planes = planes.map(lambda plane, _, turn=turn: turn(plane))  # type: ignore[misc]
    return image_HWC, planes
