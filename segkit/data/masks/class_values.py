"""Which values are classes, where nothing is declared: counted over all masks, or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from segkit.data.files.masks import MaskFacts
from segkit.data.masks.colours import VOC_CLASSES, voc_colour
from segkit.data.masks.crossings import summed
from segkit.data.masks.encoding_faults import (
    cityscapes_ids,
    gaps,
    object_numbers,
    one_and_white,
    one_value,
    starts_at_one,
)
from segkit.data.masks.object_numbers import CLEARLY_OBJECTS, seeming_objects
from segkit.data.masks.plausibility import refuse_noise
from segkit.data.masks.smears import may_be_smoothed, two_levels
from segkit.data.settings import DataSettings

# A void band: of all thin bands between two regions, and of the label's own short runs.
BAND = 0.4
BAND_OF_ITS_RUNS = 0.2
LEAST_BANDS = 20
OF_MASKS = 0.95


def count_classes(
    masks: Sequence[MaskFacts],
    values: Sequence[int],
    ignore: int | None,
    settings: DataSettings,
    *,
    asked: bool,
) -> tuple[int, tuple[str, ...]]:
    """How many classes these values are, with names where known; raises DataError SK-D007.

    asked   the ignored label is the user's own, and was not found
    """
    if _is_voc(masks, values):
        return len(VOC_CLASSES), tuple(VOC_CLASSES)
    if all(facts.path.stem.endswith("_labelIds") for facts in masks):
        raise cityscapes_ids(masks, values, settings)
    gapless = len(values) > 1 and list(values) == list(range(len(values)))
    doubtful = ignore == 255 and not asked and not _border_beside_one(masks)
    if doubtful and gapless and len(values) == 2:
        raise one_and_white(masks, settings)
    if len(values) > 3 and (seeming_objects(masks, ignore, settings.reading()) >= CLEARLY_OBJECTS):
        raise object_numbers(masks, values, settings)
    refuse_noise(masks, values, settings)
    if gapless:
        return len(values), ()
    if len(values) < 2:
        raise one_value(masks, values, settings, ignore if asked else None)
    if list(values) == list(range(1, len(values) + 1)):
        raise starts_at_one(masks, values, ignore, settings, smoothed=may_be_smoothed(masks))
    raise gaps(masks, values, ignore, settings, two_levels(masks))


def _border_beside_one(masks: Sequence[MaskFacts]) -> bool:
    """Whether some file holds both; else some files may say 1 and others 255 for one thing."""
    return any(1 in facts.counts and 255 in facts.counts for facts in masks)


def _is_voc(masks: Sequence[MaskFacts], values: Sequence[int]) -> bool:
    """Palette files in PASCAL VOC's own colours, with gaps that VOC's 21 classes explain."""
    if len(values) < 2 or values[-1] > 20 or list(values) == list(range(len(values))):
        return False
    return all(
        facts.palette and all(facts.palette.get(v) == voc_colour(v) for v in facts.counts if v < 21)
        for facts in masks
    )


def about_last(masks: Sequence[MaskFacts], last: int) -> list[str]:
    """A note on the last label where it covers most, or lies as void does; mostly none."""
    pixels: Counter[int] = Counter()
    for facts in masks:
        pixels.update(facts.counts)
    share = pixels[last] / pixels.total()
    if share > 0.5:
        return [f"Label {last} covers {share:.1%} of the pixels: it is probably the background."]
    if not is_band(masks, last):
        return []
    return [
        f"Label {last} ({share:.1%} of the pixels) lies in nearly every mask as a thin band "
        "between other regions and counts as a class; if it means void, pass "
        f"--ignore-index {last}."
    ]


def is_band(masks: Sequence[MaskFacts], label: int) -> bool:
    """Whether a label lies in nearly all masks, and makes the thin bands between other regions."""
    if sum(label in facts.counts for facts in masks) < OF_MASKS * len(masks):
        return False
    seen = summed(masks)
    bands, alone = seen.parting.get(label, 0), seen.alone.get(label, 0)
    return bands >= max(
        LEAST_BANDS, BAND * sum(seen.parting.values()), BAND_OF_ITS_RUNS * (bands + alone)
    )
