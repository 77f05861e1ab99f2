"""A folder of images and masks as a data set: one look at every file, then samples by index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path

from segkit.data.files.facts import Progress
from segkit.data.files.masks import RGB
from segkit.data.files.pairing import EXPECTED, Pair, group_of
from segkit.data.findings import WARNING, as_error
from segkit.data.layouts.layout import Layout
from segkit.data.layouts.neighbours import recordings
from segkit.data.masks.colours import dark_for_background
from segkit.data.masks.label_rule import Labelling, LabelRule, QuickLabels
from segkit.data.opening.background import background_of
from segkit.data.opening.fitting import Item
from segkit.data.opening.inspection import Inspection, inspect, label_counts
from segkit.data.opening.item_reader import ItemReader, cached_reader, plain_reader
from segkit.data.opening.opened import ALL, Data, crop_size_for, warned
from segkit.data.opening.skipping import Skipped, skipped_note, without_bad_samples
from segkit.data.options import DataOptions, OnBadSample
from segkit.data.stored import InParts, Stored, Window, of_sample
from segkit.errors import DataError
from segkit.interfaces import Dataset, Sample

Caching = Callable[[Inspection, ItemReader], tuple[ItemReader, str]]


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

    def name(self, index: int) -> str:
        return str(self.items[index].pair.image)

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


def open_folder(root: Path, options: DataOptions, progress: Progress | None = None) -> Data:
    """The data set of a folder, or of the data.yaml given; raises as `open_data` does."""
    seen = inspect(root, options, progress)
    if options.cache == "off":
        return data_of(seen, on_bad_sample=options.on_bad_sample)
    return data_of(seen, partial(cached_reader, root, mode=options.cache), options.on_bad_sample)


def data_of(
    seen: Inspection, caching: Caching | None = None, on_bad_sample: OnBadSample = "error"
) -> Data:
    """The data set that was looked at; raises DataError or StorageError with all that is wrong.

    caching   makes a reader that caches what it decodes, given the look and a plain reader
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
    background = background_of(labelling.classes, _pixels(seen, labelling))
    labelling = replace(labelling, palette=dark_for_background(labelling.palette, background))
    reader, cached = plain_reader(seen, labelling, pixels), ""
    if caching is not None:
        reader, cached = caching(seen, reader)
    warnings = [f for f in seen.findings if f.level == WARNING]
    return Data(
        classes=labelling.classes,
        palette=labelling.palette,
        ignore_index=labelling.ignore_index,
        in_channels=pixels.channels,
        intensity=reader.intensity,
        splits=tuple(layout.splits),
        notes=(
            *_found(layout),
            *pixels.notes,
            *labelling.notes,
            *warned(warnings),
            *_intensity_note(reader),
            *((cached,) if cached else ()),
            *((skipped_note(skipped),) if skipped else ()),
        ),
        reading=reader.reading,
        skipped=skipped,
        default_size=crop_size_for((item.height, item.width) for item in seen.items.values()),
        datasets=_datasets(seen, labelling, reader),
        contents={
            split: tuple((pair.id, _digest(seen, pair)) for pair in pairs)
            for split, pairs in layout.splits.items()
        },
        rule=labelling.rule.digest(),
        background=background,
        counts={
            split: tuple(label_counts(seen.masks[pair.mask], labelling) for pair in pairs)
            for split, pairs in layout.splits.items()
        },
        groups=_groups(seen),
        declared_groups=seen.settings.group is not None,
    )


def _groups(seen: Inspection) -> dict[str, tuple[str, ...]]:
    """The recording of every sample, as data.yaml tells it by names, or as pictures show."""
    pattern, layout = seen.settings.group, seen.layout
    if pattern is not None:
        return {
            split: tuple(group_of(pair.id, pattern) for pair in pairs)
            for split, pairs in layout.splits.items()
        }
    films = recordings(layout, seen.images)
    if not films:
        return {}
    return {
        split: tuple(films.get(pair, "") for pair in pairs)
        for split, pairs in layout.splits.items()
    }


def _pixels(seen: Inspection, labelling: Labelling) -> Counter[int]:
    """Of each label, in all masks."""
    pixels: Counter[int] = Counter()
    for item in seen.items.values():
        pixels.update(label_counts(seen.masks[item.pair.mask], labelling))
    return pixels


def _digest(seen: Inspection, pair: Pair) -> str:
    """Of all that decides a sample's pixels and its mask's values."""
    item = seen.items[pair]
    parts = (
        *(seen.images[path].digest for path in pair.images),
        seen.masks[pair.mask].digest,
        *(item.height, item.width, item.image_upright, item.mask_upright, item.resized),
    )
    return blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def _intensity_note(reader: ItemReader) -> tuple[str, ...]:
    """Said where it is not the plain one, and not said already (see `find_intensity`)."""
    return () if reader.intensity.scaling in ("range", "type") else (reader.intensity.sentence(),)


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
