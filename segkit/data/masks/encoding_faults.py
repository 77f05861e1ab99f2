"""What is said where masks cannot be read as labels: the values found, and the lines that help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from segkit.data.files.masks import MaskFacts, unpack
from segkit.errors import DataError


def value_table(
    masks: Sequence[MaskFacts], values: Iterable[int], *, colour: bool = False, shown: int = 12
) -> str:
    """A line per value: its pixels, its masks, and one of them."""
    lines = []
    wanted = sorted(values)
    for value in wanted[:shown]:
        holding = [facts for facts in masks if value in facts.counts]
        pixels = sum(facts.counts[value] for facts in holding)
        name = str(unpack(value)) if colour else str(value)
        lines.append(
            f"{name}: {pixels:,} pixels in {len(holding)} masks, such as {holding[0].path}"
        )
    if len(wanted) > shown:
        lines.append(f"and {len(wanted) - shown} more values")
    return "\n".join(lines)


def undeclared(
    masks: Sequence[MaskFacts], strange: set[int], num_classes: int, *, colour: bool = False
) -> DataError:
    """Values beyond the classes declared."""
    table = value_table(masks, strange, colour=colour)
    if colour:
        return DataError(
            "SK-D012",
            f"the masks hold {len(strange)} colours that the palette in data.yaml does not have:\n"
            f"{table}",
            "Add each to `palette`, under a class or under `ignore`.",
        )
    what = (
        f"{num_classes} classes are declared (0 to {num_classes - 1}), and the masks hold other "
        f"labels:\n{table}"
    )
    if strange == {num_classes}:
        fix = (
            f"{num_classes} is often 'void': add `ignore_index: {num_classes}` to data.yaml, or "
            f"`--ignore-index {num_classes}`."
        )
    else:
        fix = 'Map them in data.yaml: `label_mapping: {stored value: label}`, or "ignore" as label.'
    return DataError("SK-D012", what, fix)


def jpeg_masks(masks: Sequence[MaskFacts]) -> DataError:
    worst = max(masks, key=lambda facts: len(facts.counts))
    return DataError(
        "SK-D008",
        f"{len(masks)} masks are JPEG, which smears labels: {worst.path} holds {len(worst.counts)} "
        "values.",
        "Export them again as PNG. Where they mean foreground and background only, "
        "--binarize 128, or `binarize: 128` in data.yaml, splits them at 128.",
    )


def smeared(masks: Sequence[MaskFacts], *, both_kinds: bool = False) -> DataError:
    if both_kinds:
        ones = next(facts for facts in masks if 1 in facts.counts)
        whites = next(facts for facts in masks if 255 in facts.counts)
        return DataError(
            "SK-D007",
            f"some masks mark the foreground by 1 (such as {ones.path}) and others by 255 "
            f"(such as {whites.path}).",
            "If both mean foreground, write `label_mapping: {255: 1}` into data.yaml; if 255 is to "
            "be ignored, pass --ignore-index 255.",
        )
    worst = max(masks, key=lambda facts: len(facts.counts))
    high = max(worst.counts)
    middle = (high + 1) // 2
    return DataError(
        "SK-D008",
        f"{worst.path} holds {len(worst.counts)} values between {min(worst.counts)} and {high}, "
        "most of them on a few pixels: it was smoothed or resized.",
        "Export the masks again without smoothing. Where they mean foreground and background "
        f"only, --binarize {middle}, or `binarize: {middle}` in data.yaml, splits them there.",
    )


def no_colour_map(masks: Sequence[MaskFacts]) -> DataError:
    """RGB masks without a palette: a draft of one, most frequent colour first."""
    pixels: Counter[int] = Counter()
    for facts in masks:
        pixels.update(facts.counts)
    most = pixels.most_common(12)
    lines = [f"  class {i}: {list(unpack(colour))}" for i, (colour, _) in enumerate(most)]
    more = f" (the 12 most frequent of {len(pixels)})" if len(pixels) > 12 else ""
    return DataError(
        "SK-D007",
        f"the masks are colours, {len(pixels)} of them, and nothing says which colour is which "
        f"class (such as {masks[0].path}).",
        f"Write this into data.yaml and name the classes{more}:\npalette:\n" + "\n".join(lines),
    )


def starts_at_one(
    masks: Sequence[MaskFacts], values: Sequence[int], ignore: int | None
) -> DataError:
    mapping = ", ".join(f"{value}: {value - 1}" for value in values)
    if ignore == 0:
        return DataError(
            "SK-D007",
            f"0 is ignored and the classes' labels are {values[0]} to {values[-1]}, but labels "
            "start at 0.",
            f"Write into data.yaml, without ignore_index: label_mapping: {{0: ignore, {mapping}}}",
        )
    fix = f"Write into data.yaml: label_mapping: {{{mapping}}}"
    if list(values) == [1, 2, 3]:
        fix += (
            "\nThe trimaps of Oxford-IIIT Pet look like this (1 pet, 2 background, 3 border); for "
            "them: label_mapping: {1: 1, 2: 0, 3: ignore}"
        )
    return DataError(
        "SK-D007",
        f"the masks' values start at 1 ({values[0]} to {values[-1]}), and labels start at 0:\n"
        f"{value_table(masks, values)}",
        fix,
    )


def one_value(masks: Sequence[MaskFacts], values: Sequence[int]) -> DataError:
    held = f"only the value {values[0]}" if values else "nothing but ignored pixels"
    return DataError(
        "SK-D007",
        f"all {len(masks)} masks hold {held} (such as {masks[0].path}): there is nothing to learn.",
        "If more classes exist and these masks merely lack them, list all as `names` in data.yaml.",
    )


def object_numbers(masks: Sequence[MaskFacts], values: Sequence[int]) -> DataError:
    return DataError(
        "SK-D007",
        f"the masks' values (0 to {values[-1]}) look like object numbers: one connected blob each, "
        f"numbered 1, 2, 3, … in each file (such as {masks[0].path}).",
        "To learn objects against background, pass --instances foreground. If the values really "
        f"are {values[-1] + 1} classes, list them as `names` in data.yaml.",
    )


# Cityscapes' 19 training classes: the id that labelIds files hold, in the order of trainIds.
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def cityscapes_ids(masks: Sequence[MaskFacts], values: Sequence[int]) -> DataError:
    mapping = ", ".join(f"{stored}: {label}" for label, stored in enumerate(CITYSCAPES_IDS))
    others = ", ".join(f"{v}: ignore" for v in range(34) if v not in CITYSCAPES_IDS)
    return DataError(
        "SK-D007",
        f"the masks are Cityscapes' labelIds ({values[0]} to {values[-1]}, such as "
        f"{masks[0].path}), and trainings use its trainIds.",
        f"Write into data.yaml: label_mapping: {{{mapping}, {others}}}",
    )


def gaps(masks: Sequence[MaskFacts], values: Sequence[int]) -> DataError:
    mapping = ", ".join(f"{value}: {label}" for label, value in enumerate(values[:12]))
    more = ", …" if len(values) > 12 else ""
    return DataError(
        "SK-D007",
        f"the masks hold {len(values)} values with gaps between them, {values[0]} to "
        f"{values[-1]}:\n{value_table(masks, values)}",
        f"If each is a class, write into data.yaml: label_mapping: {{{mapping}{more}}}\n"
        f"If they are labels and the others are merely absent, list all {values[-1] + 1} as "
        "`names`; if they are object numbers, pass --instances foreground.",
    )
