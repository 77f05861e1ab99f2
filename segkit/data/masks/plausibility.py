"""Values that are hardly classes: noise, pictures taken for masks, very many in few images.

What is refused here, or asked, says how to answer: by declaring the number of classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from segkit.data.files.masks import MaskFacts
from segkit.data.findings import WARNING, Finding
from segkit.data.masks.encoding_faults import as_classes
from segkit.data.masks.object_numbers import seeming_objects
from segkit.data.masks.smears import LEAST_INSIDE
from segkit.data.settings import DataSettings
from segkit.errors import DataError

# Noise, and pictures taken for masks: the average mask holds most values, and many of the values
# have no region. Of 700 drawn sets of classes, thin ones among them, each has 0.6 of its pixels or
# more inside regions; photographs of 16 to 86 greys have 0.15 to 0.42, noise has none.
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
    if present >= PRESENT * len(masks) * len(values) and (many or broken):
        raise DataError(
            "SK-D007",
            f"the masks hold {len(values)} values ({values[0]} to {values[-1]}), the average mask "
            f"most of them, and {lost} have no region anywhere, only single pixels and edges, as "
            f"in noise and photographs (such as {masks[0].path}).",
            "Look at one: does it hold labels, and was it never smoothed or resized?\nIf every "
            f"value really is a class: {as_classes(values, None, settings)}",
        )


def questions_of_classes(
    masks: Sequence[MaskFacts], classes: int, ignore: int | None, settings: DataSettings
) -> tuple[Finding, ...]:
    """A warning (SK-D036) where values read as classes may count objects; else nothing.

    They may where there are many for so few masks, and where each is one piece in each mask.
    """
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


def _are(images: int) -> str:
    return "is 1 image" if images == 1 else f"are {images} images"
