"""Contact sheets: images beside their masks, so that a person sees at a glance whether they fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from segkit.data.augmentation.crops import augment, training_ignore_index
from segkit.data.augmentation.presets import Preset
from segkit.data.files.images import read_image
from segkit.data.files.masks import RGB
from segkit.data.intensity import white_of
from segkit.data.masks.colours import default_palette
from segkit.data.opening.fitting import Item, stored_values
from segkit.data.opening.inspection import Inspection
from segkit.data.opening.opened import ALL, Data
from segkit.errors import SegkitError
from segkit.interfaces import Sample
from segkit.reporting.pictures import Picture, overlay, to_uint8
from segkit.reporting.sheets import side_by_side

TILE = 192
COLUMNS = 3


def sheet_of_files(seen: Inspection, count: int = 12) -> Picture | None:
    """Image | image with mask, of pairs spread over the set; None where none can be shown.

    Where the masks' values are not understood, each value has a colour of its own.
    """
    items = list(seen.items.values())
    step = max(1, len(items) // count)
    tiles = []
    for item in items[::step][:count]:
        try:
            tiles.append(_tile(seen, item))
        except SegkitError:
            # A file at fault is told among the findings; the sheet shows the others.
            continue
    return in_rows(tiles, COLUMNS) if tiles else None


def sheet_of_data(data: Data, count: int = 12) -> Picture:
    """Image | image with mask, of samples spread over all splits."""
    dataset = data.split(ALL)
    step = max(1, len(dataset) // count)
    ignored = training_ignore_index(data)
    samples = [dataset[index] for index in range(0, len(dataset), step)[:count]]
    return in_rows([_shown(sample, data, ignored, sample.id) for sample in samples], COLUMNS)


def sheet_of_samples(
    data: Data, preset: Preset, size: int, ignore_index: int, *, count: int = 6, seed: int = 0
) -> Picture:
    """A row per sample of the training split: as stored, then three times as training sees it."""
    dataset = data.split("train" if "train" in data.splits else "all")
    tiles = []
    step = max(1, len(dataset) // count)
    for index in range(0, len(dataset), step)[:count]:
        sample = dataset[index]
        views = [sample] + [
            augment(sample, size, preset, ignore_index, np.random.default_rng([seed, index, draw]))
            for draw in range(3)
        ]
        tiles += [_shown(view, data, ignore_index, sample.id) for view in views]
    return in_rows(tiles, 4)


def in_rows(tiles: Sequence[Picture], columns: int) -> Picture:
    """The tiles in rows on white."""
    rows = [side_by_side(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    width = max(row.shape[1] for row in rows)
    padded = [
        np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    return np.concatenate(padded)


def _tile(seen: Inspection, item: Item) -> Picture:
    labelling, pair = seen.labelling, item.pair
    image_HWC = read_image(pair.image, upright=item.image_upright, reading=seen.reading)
    colour = labelling is not None and labelling.rule.colour
    values_HW = stored_values(item, seen.reading, colour)
    if labelling is not None:
        label_HW = labelling.rule.labels(values_HW, pair.mask)
        palette, ignore = labelling.palette, labelling.ignore_index
    else:
        _, position_HW = np.unique(values_HW, return_inverse=True)
        label_HW, ignore = position_HW.reshape(values_HW.shape), None
        palette = default_palette(int(label_HW.max()) + 1)
    white = white_of(float(image_HWC.max()), str(image_HWC.dtype))
    return _pictured(image_HWC, label_HW, palette, ignore, white, pair.id)


def _shown(sample: Sample, data: Data, ignore_index: int, title: str) -> Picture:
    if sample.mask is None:
        raise ValueError(f"{sample.id} has no mask")
    return _pictured(
        sample.image,
        sample.mask,
        data.palette,
        ignore_index,
        data.full_scale,
        title,
        data.background,
    )


def _pictured(
    image_HWC: np.ndarray,
    label_HW: np.ndarray,
    palette: Sequence[RGB],
    ignore_index: int | None,
    white: float,
    title: str,
    background: int = 0,
) -> Picture:
    """Image and overlay side by side, at most TILE pixels high, under the sample's name."""
    image_HW3 = to_uint8(image_HWC, white)
    laid_HW3 = overlay(image_HW3, label_HW, palette, ignore_index, background=background)
    scale = min(1.0, TILE / max(image_HW3.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image_HW3.shape[:2])
    small: list[Picture] = [
        cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
        for picture in (image_HW3, laid_HW3)
    ]
    return side_by_side(small, [Path(title).name[:28], ""])
