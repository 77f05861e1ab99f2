"""Augmentation of image and mask together, on arrays, before anything becomes a tensor.

Geometry first (crop, scale, rotation, flips), on image and mask alike, the mask by nearest
neighbour; then colour, on the image alone. Where a crop reaches beyond the picture, the image is
reflected and the mask is the ignored label. Any depth and any number of channels; the same
generator gives the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

import cv2
import numpy as np

from segkit.data.augmentation.colour_changes import by_channels, change_colours
from segkit.data.augmentation.presets import Preset
from segkit.data.stored import Stored, Window, of_sample
from segkit.errors import SegkitError
from segkit.interfaces import Sample

# What the loss ignores where the data themselves have no ignored label.
IGNORE_FREE = 255
IGNORE_MANY_CLASSES = -100

LABEL_TYPES = (np.uint8, np.int64)
ALL = slice(None)
# As np.rot90 counts them, against the clock.
QUARTERS = {
    1: cv2.ROTATE_90_COUNTERCLOCKWISE,
    2: cv2.ROTATE_180,
    3: cv2.ROTATE_90_CLOCKWISE,
}

Labels = Callable[[np.ndarray], np.ndarray]


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
    sample: Sample, size: int, preset: Preset, ignore_index: int, rng: np.random.Generator
) -> Sample:
    """A crop of size x size pixels, augmented; the sample itself is not modified."""
    crop = cut_out(of_sample(sample), size, preset, ignore_index, rng)
    return replace(crop, mask=None if crop.mask is None else crop.mask.astype(np.int64))


def cut_out(
    stored: Stored,
    size: int,
    preset: Preset,
    ignore_index: int,
    rng: np.random.Generator,
    into_HWC: np.ndarray | None = None,
) -> Sample:
    """As `augment`, reading the part that is cut out; a mask of uint8 where its labels fit.

    into_HWC   where the crop's image is to go: it may lie there already, or have to be copied
    """
    image_HWC, planes = _crop(stored, size, preset, ignore_index, rng)
    image_HWC, planes = _flip(image_HWC, planes, preset, rng)
    if into_HWC is not None and _kind(into_HWC) != _kind(image_HWC):
        into_HWC = None
    image_HWC = change_colours(image_HWC, preset, rng, into_HWC)
    mask_HW, *others = planes
    if mask_HW.dtype != np.uint8:
        mask_HW = mask_HW.astype(np.int64)
    instances_HW = others[0].astype(np.int64) if others else None
    crop = Sample(np.ascontiguousarray(image_HWC), mask_HW, stored.id, instances_HW)
    return fitting(crop, size, stored.image.dtype)


def fitting(crop: Sample, size: int, image_type: np.dtype[Any]) -> Sample:
    """The crop, where image and mask have its size and the types they should have.

    Raises SegkitError SK-D030, which is a fault of the augmentation and not of the data.
    """
    square = (size, size)
    planes = [plane for plane in (crop.mask, crop.instances) if plane is not None]
    right = (
        crop.image.shape[:2] == square and crop.image.dtype == image_type and crop.mask is not None
    )
    if not right or any(p.shape != square or p.dtype not in LABEL_TYPES for p in planes):
        planes.insert(0, crop.image)
        told = ", ".join(f"{plane.dtype} {plane.shape[:2]}" for plane in planes)
        raise SegkitError(
            "SK-D030",
            f"augmentation made {told} of {crop.id}, not squares of {size} with a mask of labels.",
            "Report it, with the data set's kind and the settings; until then: "
            "--augmentation none.",
        )
    return crop


def _kind(array: np.ndarray) -> tuple[tuple[int, ...], np.dtype[Any]]:
    return array.shape, array.dtype


def _exact(plane_HW: np.ndarray, fill: int) -> np.ndarray:
    """The plane in the smallest type OpenCV resamples that holds all values (up to 2**53)."""
    if plane_HW.dtype == np.uint8 and 0 <= fill <= 255:
        return plane_HW
    low, high = min(int(plane_HW.min()), fill), max(int(plane_HW.max()), fill)
    for kind in (np.uint8, np.int16):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return plane_HW.astype(kind)
    return plane_HW.astype(np.float64)


def _crop(
    stored: Stored, size: int, preset: Preset, ignore_index: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """A random square of the picture, scaled (and turned, and deformed) to size x size.

    The planes are the mask and, where there are any, the object numbers.
    """
    height, width = stored.image.shape[:2]
    low, high = preset.scale
    # A picture is not shrunk below the crop: what lies beyond it teaches nothing.
    low = max(low, min(1.0, size / min(height, width)))
    scale = low * (high / low) ** rng.random() if low < high else low
    side = max(1, round(size / scale))
    point = _point(stored, preset, ignore_index, rng)
    top, left = (
        _place(height, side, rng, point and point[0]),
        _place(width, side, rng, point and point[1]),
    )
    if preset.rotation or preset.elastic:
        return _warp(stored, size, (top, left, side), preset, ignore_index, rng)
    image_HWC = _reflected(stored.image, top, left, side)
    planes = [_filled(stored.mask, top, left, side, stored.labels, ignore_index)]
    if stored.instances is not None:
        planes.append(_filled(stored.instances, top, left, side, None, 0))
    if side == size:
        return image_HWC, planes
    # Up to a factor of 2 the four pixels that linear interpolation reads leave none out.
    how = cv2.INTER_AREA if side > 2 * size else cv2.INTER_LINEAR
    image_HWC = by_channels(
        image_HWC, lambda part: cv2.resize(part, (size, size), interpolation=how)
    )
    planes = [
        cv2.resize(plane, (size, size), interpolation=cv2.INTER_NEAREST_EXACT) for plane in planes
    ]
    return image_HWC, planes


def _point(
    stored: Stored, preset: Preset, ignore_index: int, rng: np.random.Generator
) -> tuple[int, int] | None:
    """The pixel (y, x) that the crop is to show, or None for a crop anywhere."""
    if preset.aim == "anywhere" or (preset.aim == "foreground" and rng.random() < 0.5):
        return None
    if preset.aim == "middle":
        return stored.image.shape[0] // 2, stored.image.shape[1] // 2
    mask_HW = stored.labels(stored.mask[ALL, ALL])
    counted_HW = mask_HW != ignore_index
    if preset.aim == "foreground":
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
    return low + int(rng.random() * (high + 1 - low))


def _cut(window: Window, top: int, left: int, side: int) -> np.ndarray:
    """What lies inside the window of a square."""
    return window[max(top, 0) : top + side, max(left, 0) : left + side]


def _lacking(window: Window, top: int, left: int, side: int) -> list[tuple[int, int]]:
    """Rows and columns that the square has before and beyond the window."""
    height, width = window.shape[:2]
    return [
        (max(-start, 0), max(start + side - length, 0))
        for start, length in ((top, height), (left, width))
    ]


def _reflected(window: Window, top: int, left: int, side: int) -> np.ndarray:
    """The square of an image, reflected where it reaches beyond."""
    inside_HWC = _cut(window, top, left, side)
    if inside_HWC.shape[:2] == (side, side):
        return inside_HWC
    # np.pad cannot reflect an axis of a single pixel.
    mode: Literal["reflect", "edge"] = "reflect" if min(inside_HWC.shape[:2]) > 1 else "edge"
    return np.pad(inside_HWC, (*_lacking(window, top, left, side), (0, 0)), mode=mode)


def _filled(
    window: Window, top: int, left: int, side: int, labels: Labels | None, fill: int
) -> np.ndarray:
    """The square of a plane, filled where it reaches beyond."""
    inside_HW = _cut(window, top, left, side)
    inside_HW = _exact(inside_HW if labels is None else labels(inside_HW), fill)
    if inside_HW.shape == (side, side):
        return inside_HW
    return np.pad(inside_HW, _lacking(window, top, left, side), constant_values=fill)


def _warp(
    stored: Stored,
    size: int,
    box: tuple[int, int, int],
    preset: Preset,
    ignore_index: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The square turned and deformed: one resampling from the stored pixels."""
    top, left, side = box
    step = side / size
    y_HW, x_HW = np.mgrid[0:size, 0:size].astype(np.float32)
    if preset.elastic:
        y_HW += _bumps(size, preset.elastic * size, rng)
        x_HW += _bumps(size, preset.elastic * size, rng)
    angle = np.deg2rad(rng.uniform(-preset.rotation, preset.rotation)) if preset.rotation else 0.0
    middle = (size - 1) / 2
    y_HW, x_HW = y_HW - middle, x_HW - middle
    turned_y = np.cos(angle) * y_HW - np.sin(angle) * x_HW
    turned_x = np.sin(angle) * y_HW + np.cos(angle) * x_HW
    from_y = (turned_y * step + top + (side - 1) / 2).astype(np.float32)
    from_x = (turned_x * step + left + (side - 1) / 2).astype(np.float32)
    image_HWC = stored.image[ALL, ALL]
    if step > 1.5:
        # Sampling every second pixel or fewer would alias: smooth by what is skipped.
        image_HWC = by_channels(image_HWC, lambda p: cv2.GaussianBlur(p, (0, 0), step / 3))
    moved_HWC = by_channels(
        image_HWC,
        lambda p: cv2.remap(p, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101),
    )
    near_y, near_x = np.rint(from_y), np.rint(from_x)
    mask_HW = _exact(stored.labels(stored.mask[ALL, ALL]), ignore_index)
    planes = [_nearest(mask_HW, near_y, near_x, ignore_index)]
    if stored.instances is not None:
        instances_HW = _exact(stored.instances[ALL, ALL], 0)
        planes.append(_nearest(instances_HW, near_y, near_x, 0))
    return moved_HWC, planes


def _nearest(plane: np.ndarray, y_HW: np.ndarray, x_HW: np.ndarray, fill: int) -> np.ndarray:
    return cv2.remap(
        plane, x_HW, y_HW, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
    )


def _bumps(size: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random displacement along one axis: a coarse grid, bicubically enlarged."""
    coarse = rng.normal(0, spread, (3, 3)).clip(-2 * spread, 2 * spread).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def _flip(
    image_HWC: np.ndarray, planes: list[np.ndarray], preset: Preset, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    turns: list[Callable[[np.ndarray], np.ndarray]] = []
    if preset.flips in ("horizontal", "both") and rng.random() < 0.5:
        turns.append(lambda array: cv2.flip(array, 1))
    if preset.flips == "both" and rng.random() < 0.5:
        turns.append(lambda array: cv2.flip(array, 0))
    if preset.quarters and (quarters := int(rng.integers(4))):
        turns.append(lambda array: cv2.rotate(array, QUARTERS[quarters]))
    for turn in turns:
        image_HWC = by_channels(image_HWC, turn)
        planes = [turn(plane) for plane in planes]
    return image_HWC, planes
