"""How a mask goes from one value to the next: at once, as labels do, or by values in between.

A mask that was resized, rotated, drawn with soft edges or stored as JPEG has values at the borders
of its regions that are nobody's label. They are told by where they lie, not by what they are: read
along rows and columns, two regions of one value each meet at once in a mask of labels, and over a
ramp in a smeared one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

# Pixels of one value in a row that count as a region of it; shorter runs lie between regions.
REGION = 3
# Rows and columns looked at, spread over the mask.
LINES = 256
KINDS = (
    *("direct", "next", "thin", "ramps", "stairs", "bumps", "unsteady"),
    *("narrow", "soft", "broken", "walls"),
)
# Pixels of a narrow region: what real bands have and bands left by smoothing have not.
NARROW = 6
# What a smooth resize overshoots beyond the two values it goes between, as a share of their
# distance: Lanczos with four lobes 0.14.
OVERSHOOT = 0.2
# Of a wall's runs: those between two lower or two higher values, or all between the same two.
ELSEWHERE, ONE_PAIR = 0.1, 0.8
KINDS_BY_VALUE = ("between", "alone", "parting", "steps", "touching", "inside", "edges")


@dataclass(frozen=True)
class Transitions:
    """Border crossings along rows and columns of one mask, or of several added up.

    direct     two regions side by side whose values lie two or more apart (a ramp was possible)
    next       two regions side by side whose values are consecutive whole numbers
    thin       one short run of one value inside a region: a line or a dot
    ramps      two regions with runs between them that only rise or only fall from one to the other,
               skipping some value; of colours, each channel
    stairs     two regions with runs between them, in steps of one that turn once at most: 0 1 2 3,
               or 0 1 2 1 0
    bumps      several short runs inside a region, that rise to a peak or fall to a hollow
    unsteady   any other sequence of short runs between two regions
    narrow     regions of at most six pixels between a lower and a higher value
    soft       two regions two or more apart with runs from one to the other between them, which may
               overshoot both by little, as a smooth resize does: ramps, stairs, and some others
    broken     two regions two or more apart with other runs between them, not only overshoot
    walls      of `soft`, those over one run of the mask's most frequent such value, where it also
               lies between two lower or two higher ones, or always between the same two: walls of
               cells, and layers
    between    {value: its short runs in ramps and bumps}
    alone      {value: its short runs that are thin}
    parting    {value: its short runs that are all that lies between two regions of other values}
    steps      {value: its short runs in stairs}
    touching   {lower value: of `next`, those between regions wider than narrow ones}
    inside     {value: pixels whose eight neighbours have the same value; none at the mask's rim}
    edges      {value: pixels with another value among their neighbours}

    Colours are no numbers: next, stairs, bumps, narrow, soft, broken and walls are 0 of them, and
    steps and touching empty.
    """

    direct: int = 0
    next: int = 0
    thin: int = 0
    ramps: int = 0
    stairs: int = 0
    bumps: int = 0
    unsteady: int = 0
    narrow: int = 0
    soft: int = 0
    broken: int = 0
    walls: int = 0
    between: dict[int, int] = field(default_factory=dict)
    alone: dict[int, int] = field(default_factory=dict)
    parting: dict[int, int] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    touching: dict[int, int] = field(default_factory=dict)
    inside: dict[int, int] = field(default_factory=dict)
    edges: dict[int, int] = field(default_factory=dict)


def transitions(values_HW: np.ndarray, *, colour: bool = False) -> Transitions:
    """Of a mask's values: whole numbers, or packed colours, which count channel by channel."""
    counts = np.zeros(len(KINDS), np.int64)
    runs: list[tuple[np.ndarray, ...]] = []
    for lines_NW in (values_HW, values_HW.T):
        step = -(-lines_NW.shape[0] // LINES)
        kinds, *values = _along(lines_NW[step // 2 :: step], colour)
        counts += kinds
        runs.append(tuple(values))
    *by_value, single_N3 = (np.concatenate(both) for both in zip(*runs, strict=True))
    tallies: dict[str, Any] = dict(zip(KINDS_BY_VALUE, map(_tally, by_value), strict=False))
    counts[KINDS.index("walls")] = _walls(single_N3, tallies["parting"])
    found: dict[str, Any] = dict(zip(KINDS, counts.tolist(), strict=True))
    alike_HW = _alike(values_HW)
    edges, alike_HW[[0, -1]], alike_HW[:, [0, -1]] = _tally(values_HW[~alike_HW]), False, False
    inside = _tally(values_HW[alike_HW])
    return Transitions(**found, **tallies, inside=inside, edges=edges)


def renamed(found: Transitions, names: Mapping[int, int]) -> Transitions:
    """The same with other values: {value: new value}; several may become one."""
    tables: dict[str, Any] = {}
    for kind in KINDS_BY_VALUE:
        tables[kind] = {}
        for value, count in getattr(found, kind).items():
            new = names.get(value, value)
            tables[kind][new] = tables[kind].get(new, 0) + count
    return replace(found, **tables)


def _tally(values: np.ndarray) -> dict[int, int]:
    present, count = np.unique(values, return_counts=True)
    return dict(zip(present.tolist(), count.tolist(), strict=True))


def _alike(values_HW: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels whose neighbours, eight of them but for the rim, have the same value."""
    wide_HW = np.pad(values_HW, 1, mode="edge")
    same_right = wide_HW[:, 1:] == wide_HW[:, :-1]
    three_HW = same_right[:, 1:] & same_right[:, :-1]
    same_down = wide_HW[1:, 1:-1] == wide_HW[:-1, 1:-1]
    return three_HW[:-2] & three_HW[1:-1] & three_HW[2:] & same_down[1:] & same_down[:-1]


def _along(lines_NW: np.ndarray, colour: bool) -> tuple[np.ndarray, ...]:
    """Along rows: the counts of `Transitions`, and the values of its kinds of runs.

    Those are of KINDS_BY_VALUE but for the last two; then the single runs of soft crossings, each
    with the lower and the higher value it lies between.
    """
    width = lines_NW.shape[1]
    starts_NW = np.ones(lines_NW.shape, bool)
    starts_NW[:, 1:] = lines_NW[:, 1:] != lines_NW[:, :-1]
    (starts_R,) = np.nonzero(starts_NW.ravel())
    value_R = lines_NW.ravel()[starts_R].astype(np.int64)
    length_R = np.diff(starts_R, append=lines_NW.size)
    (regions,) = np.nonzero(length_R >= REGION)
    first, last = regions[:-1], regions[1:]
    in_one_line = starts_R[first] // width == starts_R[last] // width
    first, last = first[in_one_line], last[in_one_line]

    runs = last - first - 1
    ends_equal = value_R[first] == value_R[last]
    close = np.abs(np.diff(value_R, append=value_R[-1:])) == 1
    unit_steps = (_sum_between(~close, first, last) == 0) & (not colour)
    thin = (runs == 1) & ends_equal
    steady = (runs > 0) & ~ends_equal & _monotone(value_R, first, last, colour)
    bump = (runs > 1) & ends_equal & (_turns(value_R, first, last) == 1) & (not colour)
    stairs = (steady | bump) & unit_steps
    ramp, bump = steady & ~stairs, bump & ~stairs
    kinds = [
        (runs == 0) & ~unit_steps,
        (runs == 0) & unit_steps,
        thin,
        ramp,
        stairs,
        bump,
        (runs > 0) & ~(steady | thin | bump | stairs),
    ]
    ramped, stepping = ramp | bump, stairs & (runs > 0)
    between = value_R[_within(len(value_R), first[ramped], last[ramped])]
    steps = value_R[_within(len(value_R), first[stepping], last[stepping])]
    parting = (runs == 1) & ~ends_equal
    wide = kinds[1] & (np.minimum(length_R[first], length_R[last]) > NARROW)
    touching = np.minimum(value_R[first], value_R[last])[wide]
    if colour:
        counts = np.array([*(kind.sum() for kind in kinds), 0, 0, 0, 0])
        single_N3 = np.zeros((0, 3), np.int64)
    else:
        narrow = _narrow(value_R, length_R, starts_R // width)
        soft, broken = _soft(value_R, first, last)
        counts = np.array([*(kind.sum() for kind in (*kinds, soft, broken)), 0])
        counts = np.insert(counts, len(kinds), narrow)
        at = first[soft & (runs == 1)] + 1
        ends = np.sort([value_R[at - 1], value_R[at + 1]], axis=0)
        single_N3 = np.stack([value_R[at], *ends], axis=1)
    short = (between, value_R[first[thin] + 1], value_R[first[parting] + 1], steps, touching)
    return counts, *short, single_N3


def _within(runs: int, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(R) bool: runs between the first and the last of some crossing."""
    # A run lies in one where more crossings begin before it than end before it.
    begun_R = np.zeros(runs + 1, np.int64)
    np.add.at(begun_R, first + 1, 1)
    np.add.at(begun_R, last, -1)
    return begun_R.cumsum()[:-1] > 0


def _walls(single_N3: np.ndarray, parting: Mapping[int, int]) -> int:
    """`Transitions.walls`, of soft crossings over one run: its value, the lower and the higher."""
    if not len(single_N3):
        return 0
    values, counts = np.unique(single_N3[:, 0], return_counts=True)
    value, count = int(values[counts.argmax()]), int(counts.max())
    kinds, alike = np.unique(single_N3[single_N3[:, 0] == value], axis=0, return_counts=True)
    elsewhere = parting[value] - count
    # Between others smoothing would leave several values; between two apart no other can be.
    _, low, high = kinds[alike.argmax()]
    of = count if high - low > 2 else len(single_N3)
    is_wall = elsewhere >= ELSEWHERE * parting[value] or alike.max() >= ONE_PAIR * of
    return count if is_wall else 0


def _soft(
    value_R: np.ndarray, first: np.ndarray, last: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which crossings are soft, and which are broken (see `Transitions`)."""
    start, end, runs = value_R[first], value_R[last], last - first - 1
    low, high = np.minimum(start, end), np.maximum(start, end)
    # One entry for each run between: its crossing, and its value.
    of = np.repeat(np.arange(len(first)), runs)
    place = np.arange(len(of)) - np.repeat(np.cumsum(runs) - runs, runs)
    value = value_R[first[of] + 1 + place]
    over = OVERSHOOT * (high - low)[of]
    beyond = (value < low[of] - over) | (value > high[of] + over)
    clipped = np.clip(value, low[of], high[of])
    before = np.where(place == 0, start[of], np.roll(clipped, 1))
    back = (clipped - before) * np.sign(end - start)[of] < 0
    within = (value > low[of]) & (value < high[of])

    def any_of(flag: np.ndarray) -> np.ndarray:
        return np.bincount(of, flag, len(first)) > 0

    far = (high - low >= 2) & (runs > 0)
    steady = far & ~any_of(beyond) & ~any_of(back)
    return steady & any_of(within), far & ~steady


def _narrow(value_R: np.ndarray, length_R: np.ndarray, line_R: np.ndarray) -> int:
    """How many regions of a few pixels lie between a lower and a higher value."""
    steps = np.diff(value_R)
    passed = (steps[:-1] * steps[1:] > 0) & (line_R[:-2] == line_R[2:])
    return int((passed & (length_R[1:-1] >= REGION) & (length_R[1:-1] <= NARROW)).sum())


def _monotone(value_R: np.ndarray, first: np.ndarray, last: np.ndarray, colour: bool) -> np.ndarray:
    """Whether the runs from first to last only rise or only fall; of colours, in each channel."""
    channels = (value_R >> 16, value_R >> 8 & 255, value_R & 255) if colour else (value_R,)
    steady = np.ones(len(first), bool)
    for channel_R in channels:
        step_R = np.diff(channel_R, append=channel_R[-1:])
        steady &= (_sum_between(step_R < 0, first, last) == 0) | (
            _sum_between(step_R > 0, first, last) == 0
        )
    return steady


def _turns(value_R: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """How often the runs from first to last change between rising and falling."""
    rises_R = np.diff(value_R, append=value_R[-1:]) > 0
    turned_R = np.zeros(len(rises_R), bool)
    turned_R[1:] = rises_R[1:] != rises_R[:-1]
    return _sum_between(turned_R, first + 1, last)


def _sum_between(flag_R: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """For each pair of places, how often the flag is set from the first to before the last."""
    upto = np.concatenate([[0], np.cumsum(flag_R)])
    return upto[last] - upto[first]
