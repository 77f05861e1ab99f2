"""Values that are hardly classes: noise, pictures taken for masks, very many in few images.

What is refused here, or asked, says how to answer: by declaring the number of classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from segkit.data.files.masks import MaskFacts
from segkit.data.findings import WARNING, Finding
from segkit.data.masks.encoding_faults import SHOWN, as_classes
from segkit.data.masks.object_numbers import seeming_objects
from segkit.data.masks.smears import LEAST_INSIDE, may_be_smoothed
from segkit.data.settings import DataSettings
from segkit.errors import DataError

# Noise, and pictures taken for masks: the average mask holds most values, and many of the values
# have no region; or of very many values hardly a pixel lies in one. Of 700 drawn sets of classes,
# thin ones among them, each has 0.6 of its pixels or more inside regions; photographs of 16 to 86
# greys have 0.15 to 0.42, noise has none.
MANY, LEAST_VALUES = 64, 16
PRESENT, WITHOUT_REGION = 0.5, 0.5
LEAST_WITHOUT_REGION, LEAST_INSIDE_ALL = 0.3, 0.3
# Classes in so few images are asked for: more than this many, and more than so many an image.
FEW_CLASSES, OF_IMAGES = 8, 2


def refuse_noise(masks: Sequence[MaskFacts], values: Sequence[int], settings: DataSettings) -> None:
    """Raises DataError SK-D007 where values lie as noise, or the shades of a picture, lie."""
    if len(values) < LEAST_VALUES:
        return
    counts, inside = Counter[int](), Counter[int]()
    for facts in masks:
        counts.update({value: facts.counts.get(value, 0) for value in values})
        inside.update(facts.transitions.inside)
    present = sum(len(facts.counts.keys() & counts.keys()) for facts in masks)
    lost = sum(inside[value] < LEAST_INSIDE * counts[value] for value in values)
    share = sum(inside[value] for value in values) / counts.total()
    many = len(values) > MANY and lost >= WITHOUT_REGION * len(values)
    broken = share < LEAST_INSIDE_ALL and lost >= LEAST_WITHOUT_REGION * len(values)
    nowhere = len(values) > MANY and share < LEAST_INSIDE
    if nowhere or (present >= PRESENT * len(masks) * len(values) and (many or broken)):
        raise DataError(
            "SK-D007",
            f"the masks hold {len(values)} values ({values[0]} to {values[-1]}), "
            f"{present / len(masks):.0f} in the average mask, and {lost} have no region anywhere, "
            "only single pixels and edges, as in noise and photographs (such as "
            f"{masks[0].path}).",
            "Look at one: does it hold labels, and was it never smoothed or resized?\nIf every "
            f"value really is a class: {as_classes(values, None, settings)}",
        )


def questions_of_classes(
    masks: Sequence[MaskFacts], classes: int, ignore: int | None, settings: DataSettings
) -> tuple[Finding, ...]:
    """Warnings where values read as classes may count objects (SK-D036) or be smoothed (SK-D038).

    They may count where there are many for so few masks, and where each is one piece in each mask.
    """
    return (*_counted(masks, classes, ignore, settings), *_smoothed(masks, classes, settings))


def _smoothed(
    masks: Sequence[MaskFacts], classes: int, settings: DataSettings
) -> tuple[Finding, ...]:
    if masks[0].colour or not may_be_smoothed(masks):
        return ()
    what = (
        f"the masks are read as {classes} classes, and where two meet that are not consecutive, as "
        "0 and 2, a thin line of one between often parts them. Do the classes lie inside each "
        "other, or were the masks resized smoothly?"
    )
    fix = (
        "Look at the sheet that `segkit data check` writes. If the lines were never labelled, "
        "export the masks again by nearest neighbour; if they were, say so: --num-classes "
        f"{classes}, or `nc: {classes}` in {settings.to_write}."
    )
    return (Finding("SK-D038", what, fix, (), WARNING),)


def _counted(
    masks: Sequence[MaskFacts], classes: int, ignore: int | None, settings: DataSettings
) -> tuple[Finding, ...]:
    if classes > max(FEW_CLASSES, OF_IMAGES * len(masks)):
        why = f"there {_are(len(masks))}: more than {OF_IMAGES} classes an image"
    elif classes > 3 and seeming_objects(masks, ignore, settings.reading()):
        why = "each is one connected blob, numbered 1, 2, 3, … in each mask"
    else:
        return ()
    what = f"the masks are read as {classes} classes, and {why}. Are the values object numbers?"
    fix = (
        "If the values are object numbers: --instances foreground, or `instances: foreground` in "
        f"{settings.to_write}.\nIf they are classes, say so: --num-classes {classes}, or `nc: "
        f"{classes}` in {settings.to_write}."
    )
    return (Finding("SK-D036", what, fix, (), WARNING),)


def absent_classes(
    declared: int, values: Sequence[int], names: Sequence[str]
) -> tuple[Finding, ...]:
    """A warning (SK-D039) where classes that are declared occur in no mask; else nothing."""
    absent = sorted(set(range(declared)) - set(values))
    if not absent:
        return ()
    what = (
        f"{declared} classes are declared, and the masks hold {declared - len(absent)} of them: "
        f"{_listed([f'{k} ({names[k]})' for k in absent])} "
        f"{'occurs' if len(absent) == 1 else 'occur'} in none."
    )
    fix = "A class without a pixel is never learned and has no score."
    # One class alone would only score perfectly.
    if max(values, default=0) > 0:
        fix += f" If there are fewer classes, say so: --num-classes {max(values) + 1}."
    return (Finding("SK-D039", what, fix, (), WARNING),)


def mapped_in_vain(
    mapping: Mapping[tuple[int, int], int | None], counts: Mapping[int, int], by: str
) -> tuple[Finding, ...]:
    """A warning (SK-D039) where a mapping names values that no mask holds; else nothing.

    by   the file or the option that holds the mapping
    """
    missing = [
        str(first) if first == last else f"{first}-{last}"
        for first, last in mapping
        if not any(first <= value <= last for value in counts)
    ]
    if not missing:
        return ()
    held = _listed(sorted(counts))
    what = f"{by} maps {_listed(missing)}, which no mask holds; they hold {held}."
    fix = "Nothing is wrong if these masks merely lack it; else correct the mapping."
    return (Finding("SK-D039", what, fix, (), WARNING),)


def _listed(values: Sequence[object]) -> str:
    """A few of the values, and how many more there are."""
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(map(str, values[:SHOWN])) + more


def _are(images: int) -> str:
    return "is 1 image" if images == 1 else f"are {images} images"
