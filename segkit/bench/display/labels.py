"""Words for a benchmark's cases: what they share is said once; ratios and limits in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from segkit.bench.records.case import Case
from segkit.bench.records.row import Row

FASTEST = (
    "how many times as long a step takes as the fastest this machine could: all its arithmetic at "
    "the machine's own best rate, or its fewest bytes at that of a copy, whichever takes longer, "
    "with everything fused that can be."
)


def plain(number: float, digits: int = 3) -> str:
    """A number with so many digits that mean something, and never as a power of ten.

    2.5, 0.00123, 20,331: digits before the point are all shown, thousands apart.
    """
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    decimals = max(digits - 1 - math.floor(math.log10(abs(number))), 0)
    text = f"{number:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def milliseconds(seconds: float, digits: int = 3) -> str:
    """Seconds as milliseconds, without the unit."""
    return plain(1e3 * seconds, digits)


def shared_and_own(cases: Sequence[Case]) -> tuple[str, dict[str, str]]:
    """What all cases share, in words, and by case name what only some of them have.

    A case with nothing of its own keeps what is measured; two that would read alike their names.
    """
    words = {case.name: _words(case) for case in cases}
    every = list(words.values())
    shared = [word for word in every[0] if all(word in other for other in every)] if every else []
    own = {
        name: ", ".join(word for word in these if word not in shared) or (these or [name])[0]
        for name, these in words.items()
    }
    if len(set(own.values())) < len(own):
        own = {name: name for name in own}
    return ", ".join(shared), own


def speed_beside_baseline(row: Row, *, interval: bool = True) -> str:
    """How many times as fast as its baseline a row is: "2.51 (2.44 to 2.58)", "1.01, tie".

    Unpaired are rows that had no turns in the baseline's rounds: drift is in the ratio.
    """
    relative = row.relative
    if relative is None:
        return ""
    if relative.baseline == row.case.name:
        return "baseline"
    text = plain(relative.speed)
    if interval:
        text += f" ({plain(relative.low)} to {plain(relative.high)})"
    return text + ", tie" * relative.tie + ", unpaired" * (not relative.paired)


def memory_beside_baseline(row: Row) -> str:
    """The share of its baseline's peak memory that a row needs: "0.55"."""
    relative = row.relative
    if relative is None or relative.memory is None or relative.baseline == row.case.name:
        return ""
    return plain(relative.memory)


def limit_text(row: Row) -> str:
    """How many times the least possible time a row's step takes: "2.9"."""
    times = row.achieved.times_limit if row.achieved else None
    return "" if times is None else plain(times)


def baselines_line(rows: Sequence[Row]) -> str:
    """Which cases the ratios are to; "" where there are none."""
    names = dict.fromkeys(row.relative.baseline for row in rows if row.relative)
    if not names:
        return ""
    one = f"baseline: {next(iter(names))}." if len(names) == 1 else ""
    many = "the baselines are the rows so marked; each case is held against the one most like it."
    apart = any(row.relative and not row.relative.paired for row in rows)
    drift = (
        " Unpaired: measured in other rounds than its baseline, so drift is in the ratio." * apart
    )
    told = "Speed and memory are beside a baseline, speed with its 95 % interval;"
    return f"{told} {one or many}{drift}"


def _words(case: Case) -> list[str]:
    task = [] if case.task in ("network", "benchmark") else [case.task]
    parts = (case.benchmark, case.encoder, case.decoder, case.upsampler, case.loss, case.data)
    # A part's name can stand in two places: unet as encoder and as decoder.
    places = ("", "", "decoder ", "", "", "")
    named = [place + part for place, part in zip(places, parts, strict=True) if part]
    settings = case.name.removeprefix(f"{case.task}: ").removeprefix(case.network)
    return task + named + [word for word in settings.split(", ") if word]
