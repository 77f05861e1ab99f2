"""What is said where masks were smoothed, with the export or the threshold that helps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from segkit.data.files.masks import MaskFacts
from segkit.data.masks.encoding_faults import MOST_COLOURS
from segkit.data.masks.repairs import mapping_line, nearest_level, splitting
from segkit.data.masks.smears import Smear
from segkit.data.settings import DataSettings
from segkit.errors import DataError

# Smeared levels that are told apart: how many, and how far from each other at least.
MOST_LEVELS, APART = 12, 8


def jpeg_masks(masks: Sequence[MaskFacts], settings: DataSettings) -> DataError:
    worst = max(masks, key=lambda facts: len(facts.counts))
    if worst.colour and len(worst.counts) > MOST_COLOURS:
        return DataError(
            "SK-D008",
            f"{len(masks)} masks are colour JPEG files, and {worst.path} holds "
            f"{len(worst.counts):,} colours, as photographs do.",
            "Look at one: if it is a photograph, images and masks are swapped, and the folders' "
            "names have to be exchanged. If it is a mask, export all again as PNG: JPEG smears "
            "labels.",
        )
    return DataError(
        "SK-D008",
        f"{len(masks)} masks are JPEG, which smears labels: {worst.path} holds {len(worst.counts)} "
        "values.",
        "Export them again as PNG. Where they mean foreground and background only, --binarize 128, "
        f"or `binarize: 128` in {settings.to_write}, splits them at 128.",
    )


def smeared(smear: Smear, settings: DataSettings) -> DataError:
    """Values in between, with the threshold or the ranges that undo them as far as that goes."""
    facts, levels = smear.mask, smear.levels
    export = "Export the masks again without smoothing: PNG, and resized by nearest neighbour only."
    if facts.colour:
        return DataError(
            "SK-D008",
            f"{facts.path} holds {len(facts.counts):,} colours, most of them only where one colour "
            "goes over into another: it was smoothed or resized, or once a JPEG.",
            export,
        )
    lie = "most of them only where one region goes over into another"
    if 2 * smear.homeless < len(facts.counts):
        lie = "and regions far apart in number meet over the values between them"
    what = (
        f"{facts.path} holds {len(facts.counts):,} values between {min(facts.counts)} and "
        f"{max(facts.counts)}, {lie}: it was smoothed or resized, or once a JPEG."
    )
    two = "Or, where they mean foreground and background only"
    if len(levels) == 2:
        fix = f"{export}\n{two}: {splitting(levels, settings)}"
    elif len(levels) <= MOST_LEVELS and min(b - a for a, b in pairwise(levels)) >= APART:
        ranges = nearest_level(levels, min(facts.counts), max(facts.counts))
        fix = f"{export}\nOr take each value for the nearest of the levels " + (
            f"{', '.join(map(str, levels))}: {mapping_line(ranges, settings)}\nA line of another "
            f"class then stays where the lowest and the highest meet.\n{two}: "
            f"{splitting(levels, settings)}"
        )
    else:
        fix = (
            f"{export}\nIf every value really is a class: "
            f"{mapping_line({value: value for value in range(max(levels) + 1)}, settings)}"
        )
    return DataError("SK-D008", what, fix)
