"""Contact sheets: images beside their masks, so that a person sees at a glance whether they fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from segkit.data.augmentation.crops import augment, training_ignore_index
from segkit.data.augmentation.presets import Preset
from segkit.data.files.images import read_image
from segkit.data.files.masks import RGB
from segkit.data.intensity import white_of
from segkit.data.masks.colours import dark_for_background, default_palette
from segkit.data.opening.background import background_of
from segkit.data.opening.fitting import Item, stored_values
from segkit.data.opening.inspection import Inspection, label_counts
from segkit.data.opening.opened import ALL, Data
from segkit.errors import SegkitError
from segkit.interfaces import Sample
from segkit.reporting.pictures import Picture, overlay, shown
from segkit.reporting.sheets import Row, side_by_side, with_legend

TILE = 192
COLUMNS = 3
# Entries of a legend; colours for values that nobody understands yet.
MOST_NAMED, MOST_COLOURS = 24, 256
NO_BACKGROUND = -1


@dataclass(frozen=True)
class Key:
    """What the colours of a sheet mean: a name and a colour for each label.

    background   its pixels show the image alone
    """

    names: Sequence[str]
    palette: Sequence[RGB]
    ignore_index: int | None
    background: int

    def rows(self, found: Iterable[int]) -> list[Row]:
        """The legend of the labels that occur."""
        rows: list[Row] = []
        for label in sorted(set(found)):
            if label == self.ignore_index:
                rows.append((None, "hatched: ignored"))
            elif label == self.background:
                rows.append((None, f"{self.names[label]} (not coloured)"))
            elif 0 <= label < len(self.names):
                rows.append((self.palette[label], self.names[label]))
        more = len(rows) - MOST_NAMED
        return [*rows[:MOST_NAMED], (None, f"and {more} more")] if more > 0 else rows


def sheet_of_files(seen: Inspection, count: int = 12) -> Picture | None:
    """Image | image with mask, of pairs spread over the set; None where none can be shown.

    Where the masks' values are not understood, each value has a colour of its own.
    """
    items = list(seen.items.values())
    items = items[:: max(1, len(items) // count)][:count]
    tiles, values = [], _values(seen, items)
    key, found = _key(seen, values), set[int]()
    for item in items:
        try:
            image_HWC, label_HW = _read(seen, item, values)
        except SegkitError:
            # A file at fault is told among the findings; the sheet shows the others.
            continue
        found.update(np.unique(label_HW).tolist())
        full_scale = white_of(float(image_HWC.max()), str(image_HWC.dtype))
        tiles.append(_pictured(image_HWC, label_HW, key, full_scale, item.pair.id))
    return with_legend(in_rows(tiles, COLUMNS), key.rows(found)) if tiles else None


def sheet_of_data(data: Data, count: int = 12) -> Picture:
    """Image | image with mask, of samples spread over all splits."""
    dataset, tiles, found = data.split(ALL), [], set[int]()
    key = _key_of(data, training_ignore_index(data))
    for index in range(0, len(dataset), max(1, len(dataset) // count))[:count]:
        sample = dataset[index]
        tiles.append(_shown(sample, data, key))
        found.update(_labels(sample))
    return with_legend(in_rows(tiles, COLUMNS), key.rows(found))


def sheet_of_samples(
    data: Data, preset: Preset, size: int, ignore_index: int, *, count: int = 6, seed: int = 0
) -> Picture:
    """A row per sample of the training split: as stored, then three times as training sees it."""
    dataset = data.split("train" if "train" in data.splits else "all")
    tiles, found, key = [], set[int](), _key_of(data, ignore_index)
    for index in range(0, len(dataset), max(1, len(dataset) // count))[:count]:
        sample = dataset[index]
        tiles.append(_shown(sample, data, key))
        found.update(_labels(sample))
        for draw in range(3):
            random = np.random.default_rng([seed, index, draw])
            view = augment(sample, size, preset, ignore_index, random)
            tiles.append(_shown(view, data, key, f"crop {draw + 1}"))
    return with_legend(in_rows(tiles, 4), key.rows(found))


def in_rows(tiles: Sequence[Picture], columns: int) -> Picture:
    """The tiles in rows on white."""
    rows = [side_by_side(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    width = max(row.shape[1] for row in rows)
    padded = [
        np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    return np.concatenate(padded)


def _values(seen: Inspection, items: Iterable[Item]) -> list[int]:
    """The values of masks that are not understood; none of others."""
    found = set[int]()
    for item in items if seen.labelling is None else ():
        try:
            found.update(np.unique(stored_values(item, seen.reading, False)).tolist())
        except SegkitError:
            continue
    return sorted(found)


def _key(seen: Inspection, values: Sequence[int]) -> Key:
    if seen.labelling is not None:
        labelling, pixels = seen.labelling, Counter[int]()
        for item in seen.items.values():
            pixels.update(label_counts(seen.masks[item.pair.mask], labelling))
        background = background_of(labelling.classes, pixels)
        palette = dark_for_background(labelling.palette, background)
        return Key(labelling.classes, palette, labelling.ignore_index, background)
    names = [f"value {value}" for value in values[:MOST_COLOURS]]
    return Key(names, default_palette(max(len(names), 1)), None, NO_BACKGROUND)


def _key_of(data: Data, ignore_index: int) -> Key:
    return Key(data.classes, data.palette, ignore_index, data.background)


def _read(seen: Inspection, item: Item, values: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """image_HWC, and its labels, or the places of its values among all where they mean nothing."""
    labelling, pair = seen.labelling, item.pair
    image_HWC = read_image(pair.image, upright=item.image_upright, reading=seen.reading)
    colour = labelling is not None and labelling.rule.colour
    values_HW = stored_values(item, seen.reading, colour)
    if labelling is not None:
        return image_HWC, labelling.rule.labels(values_HW, pair.mask)
    return image_HWC, np.searchsorted(values, values_HW) % MOST_COLOURS


def _labels(sample: Sample) -> list[int]:
    return [] if sample.mask is None else [int(label) for label in np.unique(sample.mask)]


def _shown(sample: Sample, data: Data, key: Key, title: str = "") -> Picture:
    if sample.mask is None:
        raise ValueError(f"{sample.id} has no mask")
    return _pictured(sample.image, sample.mask, key, data.full_scale, title or sample.id)


def _pictured(
    image_HWC: np.ndarray, label_HW: np.ndarray, key: Key, full_scale: float, title: str
) -> Picture:
    """Image and overlay side by side, at most TILE pixels high, under the sample's name; dim ones
    brightened, which the second one's title says."""
    image_HW3, note = shown(image_HWC, full_scale)
    laid_HW3 = overlay(
        image_HW3, label_HW, key.palette, key.ignore_index, background=key.background
    )
    scale = min(1.0, TILE / max(image_HW3.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image_HW3.shape[:2])
    small: list[Picture] = [
        cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
        for picture in (image_HW3, laid_HW3)
    ]
    return side_by_side(small, [Path(title).name[:28], note])
