"""Levels: the values that smeared masks held before, as far as it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from segkit.data.files.transitions import OVERSHOOT

# Values this near, as a share of the whole range, are one level with its ripples.
ONE_LEVEL = 0.08
# What 8 and 16 bits hold at most.
WHITES = (255, 65535)


def levels_of(counts: Mapping[int, int], inside: Mapping[int, int]) -> tuple[int, ...]:
    """The values with regions of their own, each with its ripples as one, the largest first asked.

    The lowest and the highest value are levels where they lie beyond all others: smoothing yields
    what lies between two values, and thin foreground may have no region that reaches its own. The
    lowest beside white is taken for the rest of black: thin background may have none either.
    """
    reach = ONE_LEVEL * (max(counts) - min(counts))
    levels: list[int] = []
    for value in sorted(inside, key=lambda v: -inside[v]):
        large = inside[value] >= max(0.3 * counts.get(value, 0), 0.005 * max(inside.values()))
        if large and all(abs(value - level) > reach for level in levels):
            levels.append(value)
    # Thin masks, or noise, may have no value with a region of its own.
    levels = levels or [min(counts)]
    if len(levels) < 2:
        levels.append(max((min(counts), max(counts)), key=lambda end: abs(end - levels[0])))
    over = OVERSHOOT * (max(levels) - min(levels))
    levels += [end for end in (min(counts), max(counts)) if _beyond(end, levels, over)]
    lowest, highest = min(levels), max(levels)
    if highest in WHITES and 0 < lowest == min(counts) and not inside.get(lowest):
        levels[levels.index(lowest)] = 0
    return tuple(sorted(levels))


def _beyond(value: int, levels: Sequence[int], by: float) -> bool:
    return value < min(levels) - by or value > max(levels) + by
