"""Smeared masks: values that no one labelled, left at borders by resizing, soft edges or JPEG.

Such values are told by where they lie (see `transitions`), never by what they are or how many: they
have no region of their own in any mask, and stand in ramps from one region to another. Classes may
be thin, numerous or have gaps between their numbers, but two of them meet at once.

The limits below were set on real sets and on many thousand drawn ones (tests/data/drawn_sets.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segkit.data.files.masks import MaskFacts
from segkit.data.files.transitions import Transitions
from segkit.data.masks.crossings import (
    broad_where_thin,
    is_banded,
    over_between,
    over_several,
    skipping,
    summed,
    touching_both,
)
from segkit.data.masks.levels import ONE_LEVEL, levels_of

# A value of which a smaller share lies inside a region has no region of its own.
LEAST_INSIDE = 0.05
# Of all meetings of regions two or more apart, without those over walls. Of 1,500 drawn sets of
# classes in no order the highest was 0.096, and the next 0.052; of smoothed class numbers, 19 in 20
# have 0.14 or more, and half 0.6.
LEAST_SOFT, SOFT = 12, 0.1
BY_CHANCE_OF_BROKEN, AT_ONCE = 0.5, 0.1
# Steps that skip numbers, of all: of classes in their order 0.36 at most.
SKIPPING = 0.5
# Terraces, as wide smoothing leaves them: short runs for each stairs, of all meetings of
# consecutive numbers, narrow regions for each stairs, and how much of those values is region: of
# 900 drawn sets of rings, contours and nested classes that reach the first two 0.02 at most.
OF_STAIRS, STEEP, NARROW_OF_TERRACES, BROAD_TERRACES = 1.5, 0.3, 0.75, 0.03
# Of ramps and stairs, where values have no region.
LOST_OF_STEPS = 0.4
# Stairs: of all meetings of consecutive numbers, for each thin run, and for each narrow region.
LEAST_STAIRS, STAIRS, OF_THIN, NARROW_OF_STAIRS = 20, 0.1, 1, 0.45
# How much of what lies in short runs between others is region in the same mask. Of 2,100 drawn sets
# of contours, rings and nested classes none came beyond all limits of stairs; rings reach 0.02,
# class numbers smoothed in steps of one have 0.08 at least, those of three or four mostly 0.4.
BROAD, BROAD_AT_ALL, LEAST_BROAD = 0.3, 0.1, 0.05
# Of the short runs in stairs, those of values that also meet both neighbours in broad regions.
TOUCHING = 0.5
# Tiny masks: meetings of two or more apart in all of them. Then one border is many of those, and a
# wall is told from a smear no more; several classes that meet over numbers between by skipping some
# are asked for. Of 400 drawn sets of 16 to 48 rows it asks for 2 good ones, and of 35 smoothed ones
# that are not refused for 7 more.
FEW_MEETINGS, LEAST_SOFT_OF_FEW, SOFT_OF_FEW, SEVERAL_CLASSES = 400, 4, 0.15, 5
# Narrow regions for each soft crossing, of what is asked for.
NARROW_OF_ASKED = 1.5
# Of ramps and unsteady sequences, where few values have a region.
RAMPS_OF_UNEVEN = 0.3
# Of the short runs that values without a region make where they do not stand alone.
BETWEEN = 0.5
# Of all values: those without a region.
HOMELESS = 0.6
LEAST_RAMPS = 4
LEAST_HOMELESS, BEYOND_CHANCE = 3, 48
# Of all crossings: JPEG leaves ripples around each border.
# It leaves 0.54 or more (131 sets); thin letters of many classes reach 0.39.
UNSTEADY = 0.45
RIPPLES, LEAST_RIPPLES = 4, 12
# Those that huddle, and the chance from which on they do.
OF_HUDDLED, BY_CHANCE = 0.2, 1e-6
FAR = 40


@dataclass(frozen=True)
class Smear:
    """What tells that masks are smeared.

    mask      the one that holds most values
    homeless  values of all masks that have no region anywhere
    levels    values that have regions, lowest first: what the masks once held, as far as it shows
    """

    mask: MaskFacts
    homeless: int
    levels: tuple[int, ...]


def find_smear(masks: Sequence[MaskFacts]) -> Smear | None:
    """What shows that the masks are smeared; None where nothing does."""
    seen, counts = summed(masks), Counter[int]()
    for facts in masks:
        counts.update(facts.counts)
    homeless = [v for v, n in counts.items() if seen.inside.get(v, 0) < LEAST_INSIDE * n]
    # Colours have no order: one lies between two others by chance.
    ordered = not masks[0].colour
    if not (
        (ordered and (_in_ramps(masks, seen, counts, homeless) or _in_stairs(masks, seen, counts)))
        or _at_borders_only(masks, set(homeless))
    ):
        return None
    most = max(masks, key=lambda facts: len(facts.counts))
    return Smear(most, len(homeless), levels_of(counts, seen.inside))


def _in_ramps(
    masks: Sequence[MaskFacts],
    seen: Transitions,
    counts: Mapping[int, int],
    homeless: Sequence[int],
) -> bool:
    """Regions two or more apart meet over the values between them: also where those are classes.

    Classes lie between others by their place and not by their number: seldom is the one between
    the one whose number is. Where it is, it is one class between all others, as walls of cells are,
    or the classes lie inside each other in their order: in bands of any width, where a smear is as
    narrow everywhere and skips what is in between, or as lines that are thin all over a mask. Then
    hardly any two meet at once, or over a third that is not between them.
    """
    soft = seen.soft - seen.walls
    meetings = soft + seen.direct + seen.broken
    if soft < max(LEAST_SOFT, SOFT * meetings):
        return False
    # One value in three lies between two others by chance; ripples of smoothing lie beside them,
    # but then hardly any two regions meet at once, or many values have no region.
    few = soft <= BY_CHANCE_OF_BROKEN * seen.broken and seen.direct >= AT_ONCE * meetings
    if few and len(homeless) < LEAST_RIPPLES:
        return False
    banded, thin = is_banded(seen), broad_where_thin(masks, counts) < LEAST_BROAD
    return skipping(seen) >= SKIPPING or not (over_between(seen) and (banded or thin))


def _in_stairs(masks: Sequence[MaskFacts], seen: Transitions, counts: Mapping[int, int]) -> bool:
    """Numbers meet over those between them, which have broad regions elsewhere in the same masks.

    Classes that lie inside each other in their order meet so too, but their bands are of any
    width, and what is thin in a mask is mostly thin all over it. And a border of cells, broad
    elsewhere as a class of its own, never meets both its neighbours in broad regions.
    """
    meetings = seen.stairs + seen.next
    # One class between two others may be cells' rim, as thick as their magnification makes it.
    if not over_several(seen, counts):
        return False
    if seen.stairs < max(LEAST_STAIRS, STAIRS * meetings, OF_THIN * seen.thin):
        return False
    broad = broad_where_thin(masks, counts)
    if (
        seen.stairs >= STEEP * meetings
        and sum(seen.steps.values()) >= OF_STAIRS * seen.stairs
        and seen.narrow <= NARROW_OF_TERRACES * seen.stairs
        and broad >= BROAD_TERRACES
    ):
        return True
    return (
        seen.narrow <= NARROW_OF_STAIRS * seen.stairs
        and broad >= BROAD
        and touching_both(seen, counts) >= TOUCHING
    )


def _at_borders_only(masks: Sequence[MaskFacts], homeless: set[int]) -> bool:
    """Some masks hold mostly values that have no region anywhere, and hold them at borders."""
    suspected = [
        facts
        for facts in masks
        if len(homeless & facts.counts.keys()) >= max(LEAST_HOMELESS, HOMELESS * len(facts.counts))
    ]
    if not suspected:
        return False
    seen, held = summed(suspected), Counter[int]()
    for facts in suspected:
        held.update(facts.counts)
    lost = homeless & held.keys()
    numerous = len(lost) >= max(LEAST_RIPPLES, RIPPLES * len(held.keys() - lost))
    if suspected[0].colour:
        return numerous and (_between(seen, lost) or _rippled(seen))
    # Some values lie between two others by chance, which has it for one in three: then most
    # meetings must lead over such, and where none are told apart, several values be lost.
    led_over = seen.soft >= seen.broken and (seen.soft or len(lost) >= LEAST_RIPPLES)
    if _between(seen, lost) and (len(lost) >= BEYOND_CHANCE or led_over):
        return True
    if numerous and _huddled(lost, held.keys() - lost):
        return _rippled(seen, OF_HUDDLED)
    return (numerous or _beside_levels(lost, levels_of(held, seen.inside))) and _rippled(seen)


def _between(seen: Transitions, homeless: set[int]) -> bool:
    """They stand in ramps where they stand, even if that is in few places."""
    soft = seen.ramps + seen.bumps
    between = sum(seen.between.get(value, 0) for value in homeless)
    alone = sum(seen.alone.get(value, 0) for value in homeless)
    return (
        between >= max(LEAST_RAMPS, BETWEEN * (between + alone))
        and soft >= LOST_OF_STEPS * (soft + seen.stairs)
        and soft >= RAMPS_OF_UNEVEN * (soft + seen.unsteady)
    )


def _rippled(seen: Transitions, share: float = UNSTEADY) -> bool:
    """That share of all borders has short runs of several values, as JPEG and blurring leave."""
    soft = seen.ramps + seen.stairs + seen.bumps + seen.unsteady
    crossings = soft + seen.direct + seen.thin
    return bool(seen.inside) and soft >= max(LEAST_RAMPS, share * crossings)


def _huddled(lost: set[int], homes: set[int]) -> bool:
    """Whether values without a region crowd around several with one closer than chance allows.

    Numbers of classes lie anywhere, or follow each other from one end. Those that JPEG of a high
    quality strews lie on both sides of each level, and seldom reach half of all borders.
    """
    if len(homes) < 2:
        return False
    nearest = {value: min(homes, key=lambda home: abs(home - value)) for value in lost}
    reach = max(abs(home - value) for value, home in nearest.items())
    crowds = Counter(nearest.values())
    span = max(lost | homes) - min(lost | homes)
    near = min(1.0, len(homes) * (2 * reach + 1) / span)
    several = sum(crowd >= LEAST_HOMELESS for crowd in crowds.values())
    return several >= 2 and near ** len(lost) < BY_CHANCE


def _beside_levels(values: set[int], levels: Sequence[int]) -> bool:
    """Whether all lie beside one of two or three levels that are far apart."""
    span = levels[-1] - levels[0]
    return (
        2 <= len(levels) <= 3
        and span >= FAR
        and all(min(abs(v - level) for level in levels) <= ONE_LEVEL * span for v in values)
    )


def may_be_smoothed(masks: Sequence[MaskFacts]) -> bool:
    """Whether classes that `find_smear` lets pass may be smoothed numbers just as well.

    They meet over thin lines of those between, which have regions in the same masks: of few classes
    in their order, as cells with borders, nothing tells them from numbers resized smoothly. Nor of
    several that are such lines everywhere, or where hardly a pixel lies inside a region or two meet
    seldom, as in tiny masks.
    """
    seen, counts = summed(masks), Counter[int]()
    for facts in masks:
        counts.update(facts.counts)
    if len(counts) > 2 and sum(seen.inside.values()) < LEAST_INSIDE * counts.total():
        return True
    meetings = seen.soft + seen.direct + seen.broken
    if (
        meetings < FEW_MEETINGS
        and len(counts) >= SEVERAL_CLASSES
        and seen.soft >= max(LEAST_SOFT_OF_FEW, SOFT_OF_FEW * meetings)
        and skipping(seen) >= SKIPPING
    ):
        return True
    if seen.soft < max(LEAST_SOFT, SOFT * meetings):
        return False
    # One class that is thin everywhere is a border that somebody drew; several are seldom so.
    borders = over_between(seen) and not is_banded(seen) and over_several(seen, counts)
    broad = broad_where_thin(masks, counts)
    return borders or (seen.narrow <= NARROW_OF_ASKED * seen.soft and broad >= BROAD_AT_ALL)


def two_levels(masks: Sequence[MaskFacts]) -> tuple[int, ...]:
    """Two values that all others may come from, which have no region; () where it is not so.

    They lie in too few places for `find_smear`, or as dots and lines lie.
    """
    seen, counts = summed(masks), Counter[int]()
    for facts in masks:
        counts.update(facts.counts)
    homeless = [v for v, n in counts.items() if seen.inside.get(v, 0) < LEAST_INSIDE * n]
    levels = levels_of(counts, seen.inside)
    numerous = len(homeless) >= max(LEAST_RIPPLES, len(counts) - len(levels) - 2)
    return levels if numerous and len(levels) == 2 else ()
