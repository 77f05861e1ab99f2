"""Medians, percentiles and intervals of times taken in rounds.

Times within a round resemble one another more than times of different rounds: the machine drifts.
So the bootstrap draws whole rounds first and steps within them second (Davison and Hinkley 1997,
Bootstrap Methods, section 3.8). With few rounds it is too narrow by itself; deviations are widened
by sqrt(k / (k - 1)) for the k rounds drawn from themselves, and by the ratio of Student's to the
normal quantile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from segkit.bench.records import Summary

Rounds = Sequence[Sequence[float]]

REPLICATES = 1000
NORMAL_975 = 1.959964
# 97.5 % quantiles of Student's distribution, by degrees of freedom from 1; beyond: the normal's.
STUDENT_975 = (
    *(12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004),
    *(2.262157, 2.228139, 2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905),
    *(2.109816, 2.100922, 2.093024, 2.085963),
)
# A median whose interval is wider than this share of it, or rounds further apart, are noisy.
NOISY_INTERVAL = 0.10
NOISY_SPREAD = 1.5


def summarise(rounds: Rounds, seed: int = 0) -> Summary:
    """All rounds together; the interval is of the median, 95 %."""
    pooled = np.concatenate([np.asarray(each, float) for each in rounds])
    p10, median, p90, p99 = np.quantile(pooled, [0.1, 0.5, 0.9, 0.99])
    low, high = _widened(float(median), bootstrap_medians(rounds, seed), len(rounds))
    return Summary(
        n=len(pooled),
        median=float(median),
        p10=float(p10),
        p90=float(p90),
        p99=float(p99),
        low=low,
        high=high,
    )


def ratio_interval(
    numerator: Rounds, denominator: Rounds, seed: int = 0
) -> tuple[float, float, float]:
    """The ratio of two medians with its 95 % interval: ratio, low, high."""
    ratio = _median(numerator) / _median(denominator)
    replicates = bootstrap_medians(numerator, seed) / bootstrap_medians(denominator, seed + 1)
    return (ratio, *_widened(ratio, replicates, min(len(numerator), len(denominator))))


def bootstrap_medians(rounds: Rounds, seed: int = 0) -> NDArray[np.float64]:
    """The median of each of REPLICATES draws: rounds with replacement, steps in them likewise.

    As many steps are drawn from every round, whatever its length: their mean number.
    """
    rng = np.random.default_rng(seed)
    lengths_R = np.array([len(each) for each in rounds])
    seconds_RS = np.zeros((len(rounds), lengths_R.max()))
    for at, each in enumerate(rounds):
        seconds_RS[at, : len(each)] = each
    steps = round(float(lengths_R.mean()))
    round_DR = rng.integers(len(rounds), size=(REPLICATES, len(rounds)))
    share_DRS = rng.random((REPLICATES, len(rounds), steps))
    step_DRS = (share_DRS * lengths_R[round_DR][:, :, None]).astype(np.int64)
    drawn_DRS = seconds_RS[round_DR[:, :, None], step_DRS]
    return np.median(drawn_DRS.reshape(REPLICATES, -1), axis=1)


def noise(rounds: Rounds, summary: Summary) -> str:
    """Why times are to be doubted, in a few words; "" where they are quiet."""
    reasons = []
    width = (summary.high - summary.low) / summary.median
    if width > NOISY_INTERVAL:
        reasons.append(f"interval {width:.0%} of the median")
    if summary.p90 > NOISY_SPREAD * summary.p10:
        reasons.append(f"p90 is {summary.p90 / summary.p10:.1f} times p10")
    medians = [float(np.median(each)) for each in rounds]
    if max(medians) > (1 + 2 * NOISY_INTERVAL) * min(medians):
        reasons.append(f"rounds {max(medians) / min(medians) - 1:.0%} apart")
    return "; ".join(reasons)


def is_stable(seconds: Sequence[float], window: int = 5, tolerance: float = 0.03) -> bool:
    """Whether the median of the last `window` steps is that of the `window` before, about."""
    if len(seconds) < 2 * window:
        return False
    before = float(np.median(seconds[-2 * window : -window]))
    last = float(np.median(seconds[-window:]))
    return abs(last - before) <= tolerance * before


def by_phase(rounds: Mapping[str, Rounds], seed: int = 0) -> dict[str, Summary]:
    """Each phase's summary."""
    return {phase: summarise(each, seed) for phase, each in rounds.items()}


def widening(rounds: int) -> float:
    """What deviations of the bootstrap are multiplied by, for this many rounds."""
    if rounds < 2:
        return 1.0
    student = STUDENT_975[rounds - 2] if rounds - 2 < len(STUDENT_975) else NORMAL_975
    return math.sqrt(rounds / (rounds - 1)) * student / NORMAL_975


def _widened(middle: float, replicates: NDArray[np.float64], rounds: int) -> tuple[float, float]:
    # On the logarithm, so that a wide interval of a time stays above 0.
    deviations = np.log(np.quantile(replicates, [0.025, 0.975]) / middle)
    low, high = middle * np.exp(deviations * widening(rounds))
    return min(float(low), middle), max(float(high), middle)


def _median(rounds: Rounds) -> float:
    return float(np.median(np.concatenate([np.asarray(each, float) for each in rounds])))
