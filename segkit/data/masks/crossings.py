"""What the crossings of all masks of a set say together (see `transitions`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from segkit.data.files.masks import MaskFacts
from segkit.data.files.transitions import KINDS, KINDS_BY_VALUE, Transitions

# Narrow regions for each soft crossing: of 19 in 20 smoothed sets 0.42 at most, of classes in their
# order (600 sets) 0.3 at least, 2.4 mostly.
NARROW_OF_SOFT, NARROW_OF_SKIPPING = 0.3, 0.5
# Of all meetings of regions two or more apart, where classes lie inside each other: of 600 drawn
# sets 0.63 at least, and 0.8 in 49 of 50.
IN_ORDER = 0.75
# Of the short runs in stairs, those that are not of the most frequent value.
SEVERAL = 0.1
# Values that also meet both neighbours in broad regions do so this often for each short run.
BOTH = 0.2


def summed(masks: Sequence[MaskFacts]) -> Transitions:
    """The crossings of all masks together."""
    sums: dict[str, Any] = {
        kind: sum(getattr(facts.transitions, kind) for facts in masks) for kind in KINDS
    }
    by_value: dict[str, Any] = {kind: Counter() for kind in KINDS_BY_VALUE}
    for facts in masks:
        for kind, counts in by_value.items():
            counts.update(getattr(facts.transitions, kind))
    return Transitions(**sums, **by_value)


def skipping(seen: Transitions) -> float:
    """Of what leads from one region to another in steps, the share that skips numbers."""
    skip = seen.ramps + seen.bumps
    return skip / max(1, skip + seen.stairs)


def over_between(seen: Transitions) -> bool:
    """Whether regions two or more apart hardly meet at once or over a third."""
    return seen.soft >= IN_ORDER * (seen.soft + seen.direct + seen.broken)


def is_banded(seen: Transitions) -> bool:
    """Whether what lies between a lower and a higher value is often a few pixels wide."""
    bands = (NARROW_OF_SOFT + NARROW_OF_SKIPPING * skipping(seen)) * seen.soft
    # A few crossings say little: chance is about the square root of their number.
    return bool(seen.narrow + seen.soft**0.5 > bands)


def over_several(seen: Transitions, counts: Mapping[int, int]) -> bool:
    """Whether stairs lead over several values, and not nearly all over one."""
    middle = [runs for value, runs in seen.steps.items() if min(counts) < value < max(counts)]
    return sum(middle) - max(middle, default=0) > SEVERAL * sum(middle)


def broad_where_thin(masks: Sequence[MaskFacts], counts: Mapping[int, int]) -> float:
    """How much of the values that lie in short runs between two others is region in those masks.

    From 0, where a value is thin in the whole of each mask in which it is thin, to 1.
    """
    middle = counts.keys() - {min(counts), max(counts)}
    short, broad = 0, 0.0
    for facts in masks:
        seen = facts.transitions
        for value in middle & facts.counts.keys():
            here = seen.steps.get(value, 0) + seen.between.get(value, 0)
            short += here
            broad += here * seen.inside.get(value, 0) / facts.counts[value]
    return broad / max(1, short)


def touching_both(seen: Transitions, counts: Mapping[int, int]) -> float:
    """Of the short runs in stairs, the share of values that also meet both neighbours broadly."""
    middle = counts.keys() - {min(counts), max(counts)}
    steps = {value: runs for value, runs in seen.steps.items() if value in middle}
    both = sum(
        runs
        for value, runs in steps.items()
        if min(seen.touching.get(value - 1, 0), seen.touching.get(value, 0)) >= BOTH * runs
    )
    return both / max(1, sum(steps.values()))
