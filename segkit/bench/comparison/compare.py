"""Two benchmark results side by side: ratios with intervals, verdicts, gates for CI.

A ratio is of B over A: 1.10 takes a tenth longer. Its interval is the bootstrap's over rounds
(statistics.py). A difference is called one only where the interval leaves 1 out and the ratio is
outside the A/A bands of both results: what each would call a difference where none is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from segkit.bench.comparison.statistics import lengthened, ratio_interval
from segkit.bench.records.row import Row
from segkit.bench.records.run import Run
from segkit.errors import UsageError

Verdict = Literal["faster", "slower", "tie", "lost", "gained"]


@dataclass(frozen=True)
class Comparison:
    """One case in both results.

    verdict        of the times; "lost" where only A has them, "gained" where only B has
    ratio          of the median step times, B over A, with its 95 % interval low to high
    memory_ratio   of the peak memory
    reason         why there are no times in one of the two
    """

    case: str
    verdict: Verdict
    seconds_a: float | None = None
    seconds_b: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    memory_a: int | None = None
    memory_b: int | None = None
    noisy: bool = False
    reason: str = ""

    @property
    def memory_ratio(self) -> float | None:
        if not self.memory_a or not self.memory_b:
            return None
        return self.memory_b / self.memory_a


@dataclass(frozen=True)
class Gate:
    """What makes a comparison fail: a case slower, or needing more memory, than `limit` times."""

    kind: Literal["slower", "memory"]
    limit: float

    def failed_by(self, comparison: Comparison) -> str:
        """Why a case fails the gate; "" where it passes. A lost case fails every gate."""
        if comparison.verdict == "lost":
            return f"was measured in A and not in B ({comparison.reason})"
        ratio = comparison.ratio if self.kind == "slower" else comparison.memory_ratio
        if ratio is None or ratio <= self.limit:
            return ""
        if self.kind == "memory":
            return f"needs {ratio:.3f} times the memory, more than {self.limit:g}"
        if comparison.verdict != "slower":
            return ""
        return f"takes {ratio:.3f} times as long, more than {self.limit:g}"


@dataclass(frozen=True)
class Result:
    """All of it.

    band       ratios between 1 / band and band are ties, by the A/A lines of both
    mean       geometric mean of the ratios; null without any
    only_a, only_b   cases that the other result does not name
    changed    conditions that differ, as (what, in A, in B)
    failures   (case, why) for each gate not passed
    """

    comparisons: tuple[Comparison, ...]
    band: float
    mean: float | None
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    changed: tuple[tuple[str, str, str], ...]
    failures: tuple[tuple[str, str], ...]

    def count(self, verdict: Verdict) -> int:
        return sum(each.verdict == verdict for each in self.comparisons)


def compare(
    a: Run, b: Run, gates: Sequence[Gate] = (), *, allow_different_hardware: bool = False
) -> Result:
    """Compares the cases that both results name.

    Raises UsageError: SK-B002 where the hardware differs, SK-B005 where no case is in both.
    """
    if a.environment.hardware != b.environment.hardware and not allow_different_hardware:
        raise UsageError(
            "SK-B002",
            f"the results are from different hardware.\n  A: {a.environment.hardware}\n"
            f"  B: {b.environment.hardware}",
            "Measure both on one machine, or add --allow-different-hardware.",
        )
    rows_a = {row.case.name: row for row in a.rows}
    rows_b = {row.case.name: row for row in b.rows}
    both = [name for name in rows_a if name in rows_b]
    if not both:
        raise UsageError(
            "SK-B005",
            f"none of A's {len(rows_a)} cases is among B's {len(rows_b)}.",
            "Run the same suite with the same options for both.",
        )
    band = max(run.aa.band if run.aa else 1.0 for run in (a, b))
    found = tuple(_compared(rows_a[name], rows_b[name], band) for name in both)
    failures = {
        (each.case, why): None
        for gate in gates
        for each in found
        if each is not None and (why := gate.failed_by(each))
    }
    compared = tuple(each for each in found if each is not None)
    logs = [math.log(each.ratio) for each in compared if each.ratio]
    return Result(
        comparisons=compared,
        band=band,
        mean=math.exp(sum(logs) / len(logs)) if logs else None,
        only_a=tuple(name for name in rows_a if name not in rows_b),
        only_b=tuple(name for name in rows_b if name not in rows_a),
        changed=tuple(_changed_conditions(a, b)),
        failures=tuple(failures),
    )


def parse_gate(text: str) -> Gate:
    """The gate that "slower>1.10" or "memory>1.05" names; raises UsageError SK-C009."""
    match = re.fullmatch(r"\s*(slower|memory)\s*>\s*(\d+(?:\.\d+)?)\s*", text)
    if match is None or float(match[2]) < 1:
        raise UsageError(
            "SK-C009",
            f"'{text}' is no gate.",
            "Write --fail-if 'slower>1.10' or --fail-if 'memory>1.05', with a number from 1.",
        )
    return Gate("slower" if match[1] == "slower" else "memory", float(match[2]))


def _compared(a: Row, b: Row, band: float) -> Comparison | None:
    """The two rows of a case; None where neither holds times."""
    name = a.case.name
    steps_a, steps_b = lengthened(a), lengthened(b)
    if a.status != "ok" or not steps_a:
        if b.status != "ok" or not steps_b:
            return None
        return Comparison(name, "gained", reason=f"A: {a.status}. {a.reason}".strip())
    if b.status != "ok" or not steps_b:
        return Comparison(name, "lost", reason=f"B: {b.status}. {b.reason}".strip())
    known = b.times["step"].median / a.times["step"].median
    ratio, low, high = ratio_interval(steps_b, steps_a, ratio=known)
    verdict: Verdict = "slower" if ratio > 1 else "faster"
    if low <= 1 <= high or 1 / band <= ratio <= band:
        verdict = "tie"
    return Comparison(
        case=name,
        verdict=verdict,
        seconds_a=a.times["step"].median,
        seconds_b=b.times["step"].median,
        ratio=ratio,
        low=low,
        high=high,
        memory_a=a.memory.peak_bytes if a.memory else None,
        memory_b=b.memory.peak_bytes if b.memory else None,
        noisy=bool(a.noisy or b.noisy),
    )


def _changed_conditions(a: Run, b: Run) -> list[tuple[str, str, str]]:
    one, other = a.environment, b.environment
    found = [
        (name, str(getattr(one, name)), str(getattr(other, name)))
        for name in ("hardware", "system", "driver", "threads", "governor", "python")
        if getattr(one, name) != getattr(other, name)
    ]
    for name in sorted({*one.packages, *other.packages}):
        versions = (one.packages.get(name, "none"), other.packages.get(name, "none"))
        if versions[0] != versions[1]:
            found.append((name, *versions))
    return found
