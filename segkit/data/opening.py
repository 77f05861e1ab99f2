"""Opening a data set: one look at every mask and image header, then samples by index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segkit.data.decoding import Header, read_header
from segkit.data.images import plain_channels, read_image
from segkit.data.labels import IgnoreIndex, Labelling, LabelRule, Wishes, find_labels
from segkit.data.layouts import Layout, Pair, find_layout
from segkit.data.masks import RGB, MaskFacts, read_values, scan_all, scan_mask
from segkit.data.settings import DataSettings, find_settings
from segkit.errors import DataError, SegkitError, UsageError, did_you_mean
from segkit.interfaces import Dataset, Sample

ALL = "all"
LEAST_SIDE = 8


@dataclass(frozen=True)
class Data:
    """An opened data set; nothing below its folder is ever written.

    classes       the classes' names, in label order
    palette       an RGB colour per class
    ignore_index  the label of pixels that count for nothing, or None where there is none
    in_channels   channels of every image that `split` gives
    full_scale    the value of white: 255 for 8 bits, else from the highest value measured
    splits        names that `split` takes; "all" is always taken too
    notes         what was found and decided, a sentence each
    default_size  side of the training crop that fits the images, pixels
    """

    classes: tuple[str, ...]
    palette: tuple[RGB, ...]
    ignore_index: int | None
    in_channels: int
    full_scale: float
    splits: tuple[str, ...]
    notes: tuple[str, ...]
    default_size: int
    datasets: Mapping[str, Dataset]

    def split(self, name: str) -> Dataset:
        """The samples of one split; raises UsageError SK-D010 where there is none of that name."""
        if name in self.datasets:
            return self.datasets[name]
        raise UsageError(
            "SK-D010",
            f"the data set has no split '{name}'.",
            f"{did_you_mean(name, self.datasets)}It has {', '.join(self.datasets)}.",
        )


@dataclass(frozen=True)
class Item:
    """A pair that was looked at; height and width are those of the image and mask as read."""

    pair: Pair
    height: int
    width: int
    image_upright: bool = True
    mask_upright: bool = False


class FolderDataset:
    """One split of a folder: reads an image and its mask when asked for them."""

    classes: Sequence[str]
    palette: Sequence[RGB]
    ignore_index: int | None

    def __init__(self, items: Sequence[Item], labelling: Labelling, in_channels: int) -> None:
        self.items = tuple(items)
        self.rule: LabelRule = labelling.rule
        self.classes = labelling.classes
        self.palette = labelling.palette
        self.ignore_index = labelling.ignore_index
        self.in_channels = in_channels

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every sample, known without reading it."""
        return [(item.height, item.width) for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        item = self.items[index]
        pair = item.pair
        image_HWC = read_image(pair.image, self.in_channels, upright=item.image_upright)
        values_HW = read_values(pair.mask, as_colour=self.rule.colour, upright=item.mask_upright)
        if values_HW.shape != image_HWC.shape[:2]:
            raise _size_mismatch([(pair, image_HWC.shape[:2], values_HW.shape)])
        mask_HW = self.rule.labels(values_HW, pair.mask)
        return Sample(image_HWC, mask_HW, pair.id, self.rule.object_numbers(values_HW, mask_HW))


def open_data(
    root: Path | None,
    *,
    ignore_index: IgnoreIndex = "auto",
    num_classes: int | None = None,
    instances: str | None = None,
    in_channels: int | None = None,
    val_share: float = 0.2,
    seed: int = 0,
) -> Data:
    """The data set of a folder (or of the data.yaml given), or the demo set where root is None.

    ignore_index  the label that counts for nothing; None: every pixel counts; "auto": as data.yaml
                  says, else 255 where the masks hold it beside classes
    num_classes   where it cannot be told from the masks, or to check that it is so many
    instances     "foreground": the masks hold object numbers, all one class
    in_channels   channels wanted; None: those the images have (alpha dropped, grey copied if mixed)
    val_share     share of the images drawn for validation where no split is given
    seed          of that draw, and of the demo set

    Every mask is decoded once, every image's header is read. Raises DataError SK-D0xx with all
    files at fault, and StorageError SK-D018.
    """
    if root is None:
        from segkit.data.demo import open_demo

        return open_demo(seed, in_channels=in_channels or 3)
    root = Path(root)
    if not root.exists():
        raise DataError("SK-D001", f"there is no folder {root}.", "Check the path given as --data.")
    settings = find_settings(root)
    layout = find_layout(root, settings, val_share=val_share, seed=seed)
    headers, masks = _look(layout.pairs)
    items = _fitting(layout.pairs, headers, masks, settings)
    wishes = Wishes(settings, ignore_index, num_classes, instances)
    labelling = find_labels(masks, wishes)
    channels, channel_note = _channels(headers, in_channels or settings.in_channels)
    full_scale, scale_note = _full_scale(headers)
    datasets = _datasets(layout, items, labelling, channels)
    notes = (*_found(layout), channel_note, *scale_note, *labelling.notes)
    return Data(
        classes=labelling.classes,
        palette=labelling.palette,
        ignore_index=labelling.ignore_index,
        in_channels=channels,
        full_scale=full_scale,
        splits=tuple(layout.splits),
        notes=notes,
        default_size=_default_size(items),
        datasets=datasets,
    )


def merged(errors: Sequence[SegkitError], shown: int = 5) -> SegkitError:
    """One error of the first one's kind that tells all, the first few of each code in full."""
    by_code: dict[str, list[SegkitError]] = {}
    for error in errors:
        by_code.setdefault(error.code, []).append(error)
    lines: list[str] = []
    for alike in by_code.values():
        lines += [error.what for error in alike[:shown]]
        if len(alike) > shown:
            lines.append(f"… and {len(alike) - shown} more like these.")
    fixes = dict.fromkeys(error.fix for error in errors if error.fix)
    first = errors[0]
    return type(first)(first.code, "\n".join(lines), "\n".join(list(fixes)[:4]))


def _look(pairs: Sequence[Pair]) -> tuple[list[Header], list[MaskFacts]]:
    headers, image_errors = scan_all(read_header, [pair.image for pair in pairs])
    masks, mask_errors = scan_all(scan_mask, [pair.mask for pair in pairs])
    if image_errors or mask_errors:
        raise merged([*image_errors, *mask_errors])
    return headers, masks


def _fitting(
    pairs: Sequence[Pair],
    headers: Sequence[Header],
    masks: Sequence[MaskFacts],
    settings: DataSettings,
) -> dict[Pair, Item]:
    """Every pair with its common size, turned where that is what makes them fit."""
    items: dict[Pair, Item] = {}
    misfits, unclear, tiny = [], [], []
    for pair, header, mask in zip(pairs, headers, masks, strict=True):
        stored, upright = _sizes(header.height, header.width, header.orientation)
        _, mask_size = _sizes(mask.height, mask.width, mask.orientation)
        apply = upright == mask_size
        if header.orientation != 1 and settings.exif is not None:
            apply = settings.exif == "apply"
        elif header.orientation not in (1, mask.orientation) and upright == stored == mask_size:
            unclear.append((pair, header.orientation))
        if (upright if apply else stored) != mask_size:
            misfits.append((pair, stored, mask_size))
        if min(mask_size) < LEAST_SIDE:
            tiny.append(pair)
        items[pair] = Item(pair, *mask_size, apply, mask.orientation != 1)
    if misfits:
        raise _size_mismatch(misfits)
    if unclear:
        raise _unclear_orientation(unclear)
    if tiny:
        raise DataError(
            "SK-D003",
            f"{len(tiny)} images are narrower than {LEAST_SIDE} pixels, such as {tiny[0].image}.",
            "Take them out.",
        )
    return items


def _sizes(height: int, width: int, orientation: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) as stored, and as a viewer shows it."""
    return (height, width), ((height, width) if orientation < 5 else (width, height))


def _size_mismatch(misfits: Sequence[tuple[Pair, tuple[int, ...], tuple[int, ...]]]) -> DataError:
    lines = [
        f"{pair.mask} is {mask[1]} x {mask[0]}, {pair.image.name} is {size[1]} x {size[0]}"
        for pair, size, mask in misfits[:5]
    ]
    if len(misfits) > 5:
        lines.append(f"and {len(misfits) - 5} more")
    ratios = {(size[0] / mask[0], size[1] / mask[1]) for _, size, mask in misfits}
    fix = "Export the masks again at their images' size."
    if len(ratios) == 1:
        high, wide = ratios.pop()
        fix += (
            f" All differ alike, by {wide:.4g} x {high:.4g}: resize the masks, nearest neighbour."
        )
    return DataError(
        "SK-D003",
        f"{len(misfits)} masks differ in size from their images:\n" + "\n".join(lines),
        fix,
    )


def _unclear_orientation(unclear: Sequence[tuple[Pair, int]]) -> DataError:
    pair, orientation = unclear[0]
    return DataError(
        "SK-D013",
        f"{len(unclear)} images carry an EXIF orientation (such as {pair.image}: {orientation}) "
        "that keeps their size: whether the masks were drawn on the turned picture cannot be told.",
        "Look at one, and write `exif: apply` or `exif: ignore` into data.yaml.",
    )


def _channels(headers: Sequence[Header], wanted: int | None) -> tuple[int, str]:
    """Channels of the images given out, and the note that says how they come about."""
    counts = Counter(plain_channels(header) for header in headers)
    have = ", ".join(f"{number} with {channels}" for channels, number in sorted(counts.items()))
    if wanted is not None:
        return wanted, f"Images: {wanted} channels wanted; of the files, {have}."
    if max(counts) > 4:
        raise DataError(
            "SK-D011",
            f"the images have many channels: {have}.",
            f"Say how many are meant: `in_channels: {max(counts)}` in data.yaml.",
        )
    grey = set(counts) <= {1, 2}
    channels = 1 if grey else 3
    dropped = sum(counts[c] for c in (2, 4))
    alpha = f"; alpha is dropped in {dropped}" if dropped else ""
    mixed = f" (files: {have})" if len(counts) > 1 else ""
    return channels, f"Images: {channels} channel{'s' * (channels > 1)}{alpha}{mixed}."


def _full_scale(headers: Sequence[Header]) -> tuple[float, tuple[str, ...]]:
    """The value of white, and a note where it is not plainly 255."""
    depths = Counter((header.kind, header.bits) for header in headers)
    if all(kind == "uint" and bits <= 8 for kind, bits in depths):
        return 255.0, ()
    if len(depths) > 1:
        have = ", ".join(f"{n} of {bits}-bit {kind}" for (kind, bits), n in sorted(depths.items()))
        raise DataError(
            "SK-D011",
            f"the images differ in depth: {have}.",
            "Convert them to one: a grey of 8 bits and one of 16 are not comparable.",
        )
    highest, errors = scan_all(_highest, [header.path for header in headers])
    if errors:
        raise merged(errors)
    ((kind, bits),) = depths
    scale = white_of(max(highest), kind)
    return scale, (
        f"Depth: {bits}-bit {kind}, highest value {max(highest):g}; {scale:g} counts as white.",
    )


def _highest(path: Path) -> float:
    return float(read_image(path).max())


def white_of(highest: float, kind: str) -> float:
    """White, for a camera that gave this value: full 8, 10, 12, 14 or 16 bits; floats 1 or 255."""
    steps = (1.0, 255.0) if kind == "float" else (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
    return next((step for step in steps if highest <= step), highest)


def _datasets(
    layout: Layout, items: Mapping[Pair, Item], labelling: Labelling, channels: int
) -> dict[str, Dataset]:
    def dataset(pairs: Sequence[Pair]) -> FolderDataset:
        return FolderDataset([items[pair] for pair in pairs], labelling, channels)

    datasets: dict[str, Dataset] = {name: dataset(each) for name, each in layout.splits.items()}
    datasets.setdefault(ALL, dataset(layout.pairs))
    return datasets


def _found(layout: Layout) -> tuple[str, ...]:
    sizes = ", ".join(f"{len(pairs)} {split}" for split, pairs in layout.splits.items())
    return (f"{len(layout.pairs)} images with masks: {sizes}.", *layout.notes)


def _default_size(items: Mapping[Pair, Item]) -> int:
    """The median image's shorter side, rounded down to a multiple of 32, from 32 to 512."""
    side = int(np.median([min(item.height, item.width) for item in items.values()]))
    return min(512, max(32, side // 32 * 32))
