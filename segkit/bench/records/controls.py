"""The A/A line: cases measured twice, and what of a difference is noise."""

from __future__ import annotations

import math
import statistics

from pydantic import Field

from segkit.bench.records.quantiles import student_975
from segkit.bench.records.record import Record

# One pair of controls that differ throughout is one observation: Student's quantile would be 12.7.
FEWEST_FREEDOM = 2


class ControlPair(Record):
    """The same case measured twice, in two processes, as if it were two cases."""

    case: str
    ratio: float = Field(description="of the step's times, round by round")
    low: float = Field(description="95 % interval of the ratio, by bootstrap over rounds")
    high: float
    rounds: tuple[float, ...] = Field(default=(), description="the ratio of each round's medians")
    memory_bytes: tuple[int, int] | None = Field(
        default=None, description="peak memory of each, above idle"
    )


class Controls(Record):
    """The A/A line: what this run would call a difference where there is none."""

    pairs: tuple[ControlPair, ...]

    @property
    def band(self) -> float:
        """Ratios between 1 / band and band are ties: 1.06 says 6 % either way.

        On the logarithm, the ratio of two identical cases varies by its rounds (squared standard
        error, from the pairs' intervals) and by what lasts as long as two processes live (what the
        pairs' ratios vary by beyond that). The root of the sum, times Student's 97.5 % quantile;
        its degrees of freedom by Satterthwaite (1946), yet no fewer than FEWEST_FREEDOM.
        """
        if not self.pairs:
            return 1.0
        if any(len(pair.rounds) < 2 for pair in self.pairs):
            # Results of old know no rounds.
            return max(max(p.ratio, p.high, 1 / p.ratio, 1 / p.low) for p in self.pairs)
        rounds = [len(pair.rounds) - 1 for pair in self.pairs]
        error = statistics.fmean(
            (math.log(pair.high / pair.low) / 2 / student_975(free)) ** 2
            for pair, free in zip(self.pairs, rounds, strict=True)
        )
        squares = statistics.fmean(math.log(pair.ratio) ** 2 for pair in self.pairs)
        lasting = max(0.0, squares - error)
        freedom = error**2 / sum(rounds) + lasting**2 / len(rounds)
        if freedom == 0:
            return 1.0
        degrees = int((error + lasting) ** 2 / freedom)
        quantile = student_975(max(degrees, FEWEST_FREEDOM))
        return math.exp(quantile * math.sqrt(error + lasting))

    @property
    def memory_band(self) -> int:
        """Bytes by which the peak memory of identical cases differed at most."""
        found = [pair.memory_bytes for pair in self.pairs if pair.memory_bytes]
        return max((abs(one - other) for one, other in found), default=0)
