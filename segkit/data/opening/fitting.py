"""Pairs whose image and mask have one size, as stored, turned or resized; and those that do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segkit.data.files.facts import ImageFacts
from segkit.data.files.masks import MaskFacts, nearest, read_values
from segkit.data.files.pairing import Pair
from segkit.data.files.reading import Reading, declaring
from segkit.data.findings import Finding
from segkit.data.opening.faults import too_narrow
from segkit.data.settings import DataSettings

# Proportions and factors that differ by less are one, and the rest is rounding to whole pixels.
ALIKE = 0.02

Size = tuple[int, int]


@dataclass(frozen=True)
class Item:
    """A pair that fits; height and width are those of the image and mask as read.

    resized   the mask is brought to this size by nearest neighbour
    """

    pair: Pair
    height: int
    width: int
    image_upright: bool = True
    mask_upright: bool = False
    resized: bool = False


def stored_values(
    item: Item, reading: Reading, as_colour: bool = False, found: np.ndarray | None = None
) -> np.ndarray:
    """(height, width) stored values of the item's mask; raises DataError as `read_values` does.

    found   the file's values where they have been read already
    """
    if found is None:
        found = read_values(
            item.pair.mask, as_colour=as_colour, upright=item.mask_upright, reading=reading
        )
    return nearest(found, item.height, item.width) if item.resized else found


def fitting(
    pairs: Sequence[Pair],
    images: Mapping[Path, ImageFacts],
    masks: Mapping[Path, MaskFacts],
    settings: DataSettings,
) -> tuple[dict[Pair, Item], list[Finding]]:
    """The pairs with their common size, turned where that makes them fit; and those that do not."""
    items: dict[Pair, Item] = {}
    misfits: list[tuple[Pair, Size, Size]] = []
    findings: list[Finding] = []
    for pair in pairs:
        image, mask = images[pair.image], masks[pair.mask]
        stored, upright = _sizes(image.height, image.width, image.orientation)
        _, mask_size = _sizes(mask.height, mask.width, mask.orientation)
        apply = upright == mask_size
        if image.orientation != 1 and settings.exif is not None:
            apply = settings.exif == "apply"
        elif image.orientation not in (1, mask.orientation) and upright == stored == mask_size:
            findings.append(_unclear_orientation(pair, image.orientation, settings))
        fits = (upright if apply else stored) == mask_size
        if not fits and settings.resize_masks is None:
            misfits.append((pair, stored, mask_size))
            continue
        if not fits and settings.exif is None:
            apply = _proportions_differ(stored, mask_size) >= _proportions_differ(
                upright, mask_size
            )
        size = upright if apply else stored
        unequal = [p for p in pair.more if (images[p].height, images[p].width) != stored]
        if unequal:
            what = f"{unequal[0]} and {pair.image.name}, channels of one image, differ in size."
            findings.append(Finding("SK-D003", what, "Export them again.", (*unequal, pair.image)))
            continue
        findings += too_narrow(str(pair.image), *size, (pair.image,))
        items[pair] = Item(pair, *size, apply, mask.orientation != 1, not fits)
    return items, [*_size_mismatches(misfits, settings), *findings]


def _sizes(height: int, width: int, orientation: int) -> tuple[Size, Size]:
    """(height, width) as stored, and as a viewer shows it."""
    return (height, width), ((height, width) if orientation < 5 else (width, height))


def _proportions_differ(image: Size, mask: Size) -> float:
    """By what share one side would be stretched more than the other; 0 for equal proportions."""
    high, wide = image[0] / mask[0], image[1] / mask[1]
    return max(high, wide) / min(high, wide) - 1


def _size_mismatches(
    misfits: Sequence[tuple[Pair, Size, Size]], settings: DataSettings
) -> list[Finding]:
    fix = _repair([(image, mask) for _, image, mask in misfits], settings) if misfits else ""
    return [
        Finding(
            "SK-D003",
            f"{pair.mask} is {mask[0]} x {mask[1]}, its image {pair.image.name} is "
            f"{size[0]} x {size[1]} (height x width).",
            fix,
            (pair.mask, pair.image),
        )
        for pair, size, mask in misfits
    ]


def _repair(sizes: Sequence[tuple[Size, Size]], settings: DataSettings) -> str:
    """What helps against all of these pairs of an image's and its mask's size."""
    if all(image == mask[::-1] for image, mask in sizes):
        return "Height and width are exchanged: turn the masks by a quarter, or export them again."
    ask = (
        f"--resize-masks nearest, or `resize_masks: nearest` in {settings.to_write}, brings them "
        "to their images' size."
    )
    if any(_proportions_differ(image, mask) > ALIKE for image, mask in sizes):
        return (
            "Height and width differ by different factors. If these masks are other cut-outs or of "
            "other pictures, export them again; if they show all of their image, only squeezed, "
            f"{ask}"
        )
    factors = [(image[0] / mask[0] + image[1] / mask[1]) / 2 for image, mask in sizes]
    if max(factors) <= (1 + ALIKE) * min(factors):
        factor = sorted(factors)[len(factors) // 2]
        return f"All differ alike, by {factor:.4g} x {factor:.4g}: {ask}"
    return f"Each has its image's proportions, and a factor of its own: {ask}"


def _unclear_orientation(pair: Pair, orientation: int, settings: DataSettings) -> Finding:
    return Finding(
        "SK-D013",
        f"{pair.image} carries EXIF orientation {orientation}, which keeps its size: whether its "
        "mask was drawn on the turned picture cannot be told.",
        "Look at one. If it was: "
        f"{declaring('exif: apply', settings.to_write)}. If not: `exif: ignore` there.",
        (pair.image, pair.mask),
    )
