"""Opening a data set: one look at every mask and image header, then samples by index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from segkit.data.files.facts import Progress
from segkit.data.files.masks import RGB
from segkit.data.files.pairing import EXPECTED, Pair
from segkit.data.findings import WARNING, Finding, as_error, by_code
from segkit.data.layouts.layout import Layout
from segkit.data.masks.label_rule import Labelling, LabelRule, QuickLabels
from segkit.data.masks.labels import IgnoreIndex, Wishes
from segkit.data.opening.demo import open_demo
from segkit.data.opening.inspection import Inspection, Item, inspect
from segkit.data.opening.item_reader import ItemReader, cached_reader, plain_reader
from segkit.data.opening.opened import Data
from segkit.data.opening.skipping import Skipped, skipped_note, without_bad_samples
from segkit.data.stored import InParts, Stored, Window, of_sample
from segkit.errors import DataError
from segkit.interfaces import Dataset, Sample

ALL = "all"
CacheMode = Literal["auto", "on", "off"]
OnBadSample = Literal["error", "skip"]
Keep = Callable[[Inspection, ItemReader], tuple[ItemReader, str]]


class FolderDataset(InParts):
    """One split of a folder: reads an image and its mask when asked for them."""

    classes: Sequence[str]
    palette: Sequence[RGB]
    ignore_index: int | None

    def __init__(
        self,
        items: Sequence[Item],
        labelling: Labelling,
        reader: ItemReader,
    ) -> None:
        self.items, self.reader = tuple(items), reader
        self.rule: LabelRule = labelling.rule
        self.classes = labelling.classes
        self.palette = labelling.palette
        self.ignore_index = labelling.ignore_index
        self.in_channels = reader.channels
        self.quick_labels = QuickLabels(self.rule, len(self.classes), self.ignore_index)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every sample, known without reading it."""
        return [(item.height, item.width) for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        item = self.items[index]
        pair = item.pair
        image_HWC, values_HW = self.reader.image(item), self.reader.values(item)
        _same_size(image_HWC, values_HW, pair)
        mask_HW = self.rule.labels(values_HW, pair.mask)
        return Sample(image_HWC, mask_HW, pair.id, self.rule.object_numbers(values_HW, mask_HW))

    def stored(self, index: int) -> Stored:
        if self.rule.objects:
            return of_sample(self[index])
        item = self.items[index]
        pair = item.pair
        image, values = self.reader.image_window(item), self.reader.values_window(item)
        _same_size(image, values, pair)
        return Stored(image, values, partial(self.quick_labels, path=pair.mask), pair.id)


def _same_size(image: Window, values: Window, pair: Pair) -> None:
    if values.shape != image.shape[:2]:
        raise DataError(
            "SK-D003",
            f"{pair.mask} and its image have differed in size since the data set was opened.",
            "Were the files changed meanwhile? Start again.",
        )


def open_data(
    root: Path | None,
    *,
    ignore_index: IgnoreIndex = "auto",
    num_classes: int | None = None,
    instances: str | None = None,
    binarize: int | None = None,
    max_pixels: int | None = None,
    in_channels: int | None = None,
    val_share: float = 0.2,
    seed: int = 0,
    progress: Progress | None = None,
    cache: CacheMode = "off",
    on_bad_sample: OnBadSample = "error",
) -> Data:
    """The data set of a folder (or of the data.yaml given), or the demo set where root is None.

    ignore_index  the label that counts for nothing; None: every pixel counts; "auto": as data.yaml
                  says, else 255 where the masks hold it beside classes
    num_classes   where it cannot be told from the masks, or to check that it is so many
    instances     the masks hold object numbers: "foreground" makes all one class, "boundary" their
                  outermost pixels another
    binarize      values from here on are foreground, the rest background: for smeared masks
    max_pixels    the largest image allowed, pixels; None: 178,956,970
    in_channels   channels wanted; None: those the images have (alpha dropped, grey copied if mixed)
    val_share     share of the images drawn for validation where no split is given
    seed          of that draw, and of the demo set
    progress      called with (files looked at, files in all)
    cache         keep decoded pixels in the user's cache folder: "on", "off", or "auto": where
                  they fit in it (SEGKIT_CACHE_GB, 10 where it is not set)
    on_bad_sample  "skip" leaves out samples whose files are at fault, up to 5 % of all

    Every file is decoded once and remembered in the user's cache folder. Raises DataError SK-D0xx
    with all files at fault, and StorageError SK-D018.
    """
    if root is None:
        return open_demo(seed, in_channels=in_channels or 3)
    wishes = Wishes(
        ignore_index=ignore_index,
        num_classes=num_classes,
        instances=instances,
        binarize=binarize,
        max_pixels=max_pixels,
    )
    seen = inspect(
        Path(root),
        wishes,
        in_channels=in_channels,
        val_share=val_share,
        seed=seed,
        progress=progress,
    )
    keep = None if cache == "off" else partial(cached_reader, Path(root), mode=cache)
    return data_of(seen, keep, on_bad_sample)


def data_of(
    seen: Inspection, keep: Keep | None = None, on_bad_sample: OnBadSample = "error"
) -> Data:
    """The data set that was looked at; raises DataError or StorageError with all that is wrong.

    keep   makes a reader that keeps what it decodes, given the look and a plain reader
    """
    skipped: tuple[Skipped, ...] = ()
    if on_bad_sample == "skip":
        seen, skipped = without_bad_samples(seen)
    error = as_error(seen.findings)
    if error is not None:
        raise error
    if seen.labelling is None or seen.pixels is None or not seen.items:
        raise DataError("SK-D001", "there are no images with masks.", EXPECTED)
    labelling, pixels, layout = seen.labelling, seen.pixels, seen.layout
    reader, kept = plain_reader(seen, labelling, pixels), ""
    if keep is not None:
        reader, kept = keep(seen, reader)
    warnings = [f for f in seen.findings if f.level == WARNING]
    return Data(
        classes=labelling.classes,
        palette=labelling.palette,
        ignore_index=labelling.ignore_index,
        in_channels=pixels.channels,
        full_scale=pixels.full_scale,
        splits=tuple(layout.splits),
        notes=(
            *_found(layout),
            *pixels.notes,
            *labelling.notes,
            *warned(warnings),
            *((kept,) if kept else ()),
            *((skipped_note(skipped),) if skipped else ()),
        ),
        skipped=skipped,
        default_size=_default_size(seen.items),
        datasets=_datasets(seen, labelling, reader),
    )


def warned(warnings: Sequence[Finding]) -> list[str]:
    """A sentence per kind of warning: the first in full, the others counted."""
    notes = []
    for alike in by_code(warnings).values():
        more = f" ({len(alike)} such; `segkit data check` shows all.)" if len(alike) > 1 else ""
        notes.append(f"{alike[0].what}{more}")
    return notes


def _datasets(seen: Inspection, labelling: Labelling, reader: ItemReader) -> dict[str, Dataset]:
    def dataset(pairs: Sequence[Pair]) -> FolderDataset:
        items = [seen.items[pair] for pair in pairs]
        return FolderDataset(items, labelling, reader)

    splits = seen.layout.splits
    datasets: dict[str, Dataset] = {name: dataset(pairs) for name, pairs in splits.items()}
    datasets.setdefault(ALL, dataset(seen.layout.pairs))
    return datasets


def _found(layout: Layout) -> tuple[str, ...]:
    sizes = ", ".join(f"{len(pairs)} {split}" for split, pairs in layout.splits.items())
    return (f"{len(layout.pairs)} images with masks: {sizes}.", *layout.notes)


def _default_size(items: Mapping[Pair, Item]) -> int:
    """The median image's shorter side, rounded down to a multiple of 32, from 32 to 512."""
    side = int(np.median([min(item.height, item.width) for item in items.values()]))
    return min(512, max(32, side // 32 * 32))
