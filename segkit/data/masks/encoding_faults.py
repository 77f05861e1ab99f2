"""What is said where masks cannot be read as labels: the values found, and the lines that help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from segkit.data.files.masks import MaskFacts, first_pixel, unpack
from segkit.data.masks.levels import WHITES
from segkit.data.masks.repairs import mapping_line, splitting
from segkit.data.setting_values import IGNORED
from segkit.data.settings import DataSettings
from segkit.errors import DataError
from segkit.model.label_range import labels_out_of_range

SHOWN = 12
# More colours than any list of classes has.
MOST_COLOURS = 1000
# The values of Oxford-IIIT Pet: pet, background, and the border between them.
TRIMAP: dict[int | str, int | str] = {1: 1, 2: 0, 3: IGNORED}
# Values beyond are hardly classes of which some are absent.
MOST_CLASSES = 1000


def value_table(
    masks: Sequence[MaskFacts], values: Iterable[int], *, colour: bool = False, shown: int = SHOWN
) -> str:
    """A line per value: its pixels, its masks, and one of them."""
    lines = []
    wanted = sorted(values)
    for value in wanted[:shown]:
        holding = [facts for facts in masks if value in facts.counts]
        pixels = sum(facts.counts[value] for facts in holding)
        name = str(unpack(value)) if colour else str(value)
        where = f"{len(holding)} masks, such as" if len(holding) > 1 else "1 mask,"
        lines.append(f"{name}: {pixels:,} pixels in {where} {holding[0].path}")
    if len(wanted) > shown:
        lines.append(f"and {len(wanted) - shown} more values")
    return "\n".join(lines)


def undeclared(
    masks: Sequence[MaskFacts],
    strange: set[int],
    num_classes: int,
    ignore_index: int | None,
    settings: DataSettings,
    *,
    by_model: bool = False,
    void: bool = False,
) -> DataError:
    """Labels that are neither among the classes declared nor the ignored one, with the repair.

    by_model  a model's classes are wanted, and no option changes those
    void      the one strange label lies as a border that is to be ignored does
    """
    values = sorted(strange)
    counted = {value for facts in masks for value in facts.counts}
    holding = [facts for facts in masks if strange & facts.counts.keys()]
    more = f" and {len(holding) - 1} more mask{'s' * (len(holding) > 2)}"
    pixels = sum(facts.counts.get(value, 0) for facts in holding for value in values)
    found = labels_out_of_range(
        pixels,
        num_classes,
        ignore_index,
        labels=values,
        where=f"{holding[0].path}{more * (len(holding) > 1)}",
        pixel=first_pixel(holding[0], values, settings.reading()),
    )
    what = found.what if len(values) == 1 else f"{found.what}\n{value_table(masks, strange)}"
    if len(values) > 1 or by_model:
        whose = "class of the model" if by_model else "class"
        mapping: dict[int | str, int | str] = dict.fromkeys(values[:SHOWN], IGNORED)
        counts = sum((Counter(facts.counts) for facts in masks), Counter[int]())
        left = 1 - sum(counts[value] for value in values) / counts.total()
        fix = (
            f"Say which {whose} each is, or ignore, which would leave {left:.0%} of the pixels: "
            f"{mapping_line(mapping, settings)}"
        )
        if by_model and sorted(counts) == [1, 2, 3] and num_classes == 2:
            fix = f"If they are trimaps of Oxford-IIIT Pet: {mapping_line(TRIMAP, settings)}\n{fix}"
    else:
        (label,) = values
        fix = f"--ignore-index {label}, or `ignore_index: {label}` in {settings.to_write}."
        if void:
            band = "lies in nearly every mask as a thin band between others, as void does"
            fix = f"{label} {band}: {fix}"
        elif label in WHITES and counted <= {0, label}:
            said = f"leave out --ignore-index {ignore_index}."
            told = said if ignore_index == 1 else mapping_line({label: 1}, settings)
            fix = f"If it is the foreground: {told}\nIf it counts for nothing: {fix}"
        else:
            fix = (
                f"If it is a class, say so: --num-classes {label + 1}, or add its name to `names` "
                f"in {settings.to_write}. If it counts for nothing: {fix}"
            )
    # Where a number was declared and no names, the next labels are rather classes than faults.
    more_than_one = len(values) > 1 and not by_model and not settings.names
    if more_than_one and values == [*range(num_classes, values[-1] + 1)]:
        fix = f"If all are classes: --num-classes {values[-1] + 1}.\n{fix}"
    return DataError(found.code, what, fix)


def unknown_colours(
    masks: Sequence[MaskFacts], strange: set[int], settings: DataSettings
) -> DataError:
    """Colours that the palette declared does not have."""
    what = (
        f"the masks hold {len(strange)} colours that the palette in {settings.to_write} does not "
        f"have:\n{value_table(masks, strange, colour=True)}"
    )
    return DataError("SK-D012", what, "Add each to `palette`, under a class or under `ignore`.")


def one_and_white(masks: Sequence[MaskFacts], settings: DataSettings) -> DataError:
    """Some masks mark the foreground by 1, others by 255."""
    ones = next(facts for facts in masks if 1 in facts.counts)
    whites = next(facts for facts in masks if 255 in facts.counts)
    return DataError(
        "SK-D007",
        f"some masks mark the foreground by 1 (such as {ones.path}) and others by 255 "
        f"(such as {whites.path}).",
        f"If both mean foreground: {mapping_line({255: 1}, settings)}\nIf 255 is to be "
        f"ignored: --ignore-index 255, or `ignore_index: 255` in {settings.to_write}.",
    )


def no_colour_map(masks: Sequence[MaskFacts], settings: DataSettings) -> DataError:
    """RGB masks without a palette: a draft of one, most frequent colour first."""
    pixels: Counter[int] = Counter()
    for facts in masks:
        pixels.update(facts.counts)
    most = pixels.most_common(SHOWN)
    lines = [f"  class {i}: {list(unpack(colour))}" for i, (colour, _) in enumerate(most)]
    more = f" (the {SHOWN} most frequent of {len(pixels)})" if len(pixels) > SHOWN else ""
    if len(pixels) > MOST_COLOURS:
        return DataError(
            "SK-D007",
            f"the masks hold {len(pixels):,} colours, as photographs do (such as {masks[0].path}).",
            "Look at one: are images and masks swapped? Masks hold one colour for each class.",
        )
    return DataError(
        "SK-D007",
        f"the masks are colours, {len(pixels)} of them, and nothing says which colour is which "
        f"class (such as {masks[0].path}).",
        f"Write this into {settings.to_write} and name the classes{more}:\npalette:\n"
        + "\n".join(lines),
    )


def starts_at_one(
    masks: Sequence[MaskFacts],
    values: Sequence[int],
    ignore: int | None,
    settings: DataSettings,
    *,
    smoothed: bool,
) -> DataError:
    """Labels from 1 on.

    smoothed   they may be numbers that were smoothed just as well (`may_be_smoothed`)
    """
    shifted: dict[int | str, int | str] = {value: value - 1 for value in values}
    if ignore == 0:
        return DataError(
            "SK-D007",
            f"0 is ignored and the classes' labels are {values[0]} to {values[-1]}, but labels "
            "start at 0.",
            f"Without ignore_index: {mapping_line({0: IGNORED, **shifted}, settings)}",
        )
    fix = mapping_line(shifted, settings)
    if list(values) == [1, 2, 3]:
        fix += (
            "\nThe trimaps of Oxford-IIIT Pet look like this (1 pet, 2 background, 3 border); for "
            f"them: {mapping_line(TRIMAP, settings)}"
        )
    if smoothed:
        fix = (
            "Where two classes meet that are not consecutive, a thin line of one between often "
            "parts them: were the masks resized smoothly? Then export them again by nearest "
            f"neighbour. If not: {fix}"
        )
    return DataError(
        "SK-D007",
        f"the masks' values start at 1 ({values[0]} to {values[-1]}), and labels start at 0:\n"
        f"{value_table(masks, values)}",
        fix,
    )


def one_value(
    masks: Sequence[MaskFacts],
    values: Sequence[int],
    settings: DataSettings,
    ignore: int | None = None,
) -> DataError:
    """One value and nothing to tell it from.

    ignore   the label that the user has ignored
    """
    held = f"only the value {values[0]}" if values else "nothing but ignored pixels"
    usual = "255 often marks what is ignored, or foreground without its background: look at a mask."
    counts = sum((Counter(facts.counts) for facts in masks), Counter[int]())
    if ignore is not None and counts[ignore]:
        return DataError(
            "SK-D007",
            f"the masks hold {held} beside {ignore}, which is ignored as asked "
            f"({counts[ignore] / counts.total():.1%} of the pixels): there is nothing to learn.",
            f"If {ignore} is a class, as the foreground, leave out --ignore-index {ignore}, or "
            f"`ignore_index: {ignore}` in {settings.to_write}.",
        )
    return DataError(
        "SK-D007",
        f"all {len(masks)} masks hold {held} (such as {masks[0].path}): there is nothing to learn.",
        (f"{usual}\n" if list(values) == [255] else "")
        + "If more classes exist and these masks merely lack them, say so: --num-classes N, or "
        f"`names: […]` in {settings.to_write}.",
    )


def object_numbers(
    masks: Sequence[MaskFacts], values: Sequence[int], settings: DataSettings
) -> DataError:
    return DataError(
        "SK-D007",
        f"the masks' values (0 to {values[-1]}) look like object numbers: one connected blob each, "
        f"numbered 1, 2, 3, … in each file (such as {masks[0].path}).",
        "To learn objects against background, pass --instances foreground, or write `instances: "
        f"foreground` into {settings.to_write}.\nIf the values really are classes: "
        f"{as_classes(values, None, settings)}",
    )


def as_classes(values: Sequence[int], ignore: int | None, settings: DataSettings) -> str:
    """How to say that values are classes: by a mapping where there are gaps, or by their number."""
    ways = []
    if len(values) > MOST_CLASSES:
        return f"--label-mapping '{{VALUE: LABEL, …}}', or label_mapping in {settings.to_write}."
    if list(values) != list(range(len(values))):
        mapping: dict[int | str, int | str] = {value: label for label, value in enumerate(values)}
        if ignore is not None:
            mapping[ignore] = IGNORED
        ways.append(mapping_line(mapping, settings))
    if values[0] >= 0 and values[-1] < MOST_CLASSES:
        count = values[-1] + 1
        lacking = "If others are merely absent from these masks: " if ways else ""
        ways.append(f"{lacking}--num-classes {count}, or `nc: {count}` in {settings.to_write}.")
    return "\n".join(ways)


# Cityscapes' 19 training classes: the id that labelIds files hold, in the order of trainIds.
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def cityscapes_ids(
    masks: Sequence[MaskFacts], values: Sequence[int], settings: DataSettings
) -> DataError:
    mapping: dict[int | str, int | str] = {id: label for label, id in enumerate(CITYSCAPES_IDS)}
    mapping |= {id: IGNORED for id in range(34) if id not in CITYSCAPES_IDS}
    return DataError(
        "SK-D007",
        f"the masks are Cityscapes' labelIds ({values[0]} to {values[-1]}, such as "
        f"{masks[0].path}), and trainings use its trainIds.",
        mapping_line(mapping, settings),
    )


def gaps(
    masks: Sequence[MaskFacts],
    values: Sequence[int],
    ignore: int | None,
    settings: DataSettings,
    levels: Sequence[int] = (),
) -> DataError:
    """Values with gaps; `levels` are the two that all may have been, before a smoothing."""
    first = ""
    if ignore is not None and not any(ignore in facts.counts for facts in masks):
        told = f"leave out --ignore-index {ignore}, or `ignore_index: {ignore}` in"
        first = f"No mask holds {ignore}, which is ignored as asked: {told} {settings.to_write}.\n"
        ignore = None
    if len(levels) == 2:
        first += f"If they were two values, then smoothed: {splitting(levels, settings)}\n"
    fix = (
        f"{first}If each is a class: {as_classes(values, ignore, settings)}\n"
        "If they are object numbers: --instances foreground, or `instances: foreground` in "
        f"{settings.to_write}."
    )
    return DataError(
        "SK-D007",
        f"the masks hold {len(values)} values with gaps between them, {values[0]} to "
        f"{values[-1]}:\n{value_table(masks, values)}",
        # 0 and white are understood where nothing is ignored.
        first.strip() if first and set(values) in ({0, white} for white in WHITES) else fix,
    )
