"""Medians, percentiles and intervals of times taken in rounds.

Times within a round resemble one another more than times of different rounds: the machine drifts.
So the bootstrap draws whole rounds first and steps within them second (Davison and Hinkley 1997,
Bootstrap Methods, section 3.8). With few rounds it is too narrow by itself; deviations are widened
by sqrt(k / (k - 1)) for the k rounds drawn from themselves, and by the ratio of Student's to the
normal quantile.

Two cases that had their turns in the same rounds drifted together: their ratio is taken round by
round, and the bootstrap draws rounds of both at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from segkit.bench.records.quantiles import NORMAL_975, student_975
from segkit.bench.records.row import Row, Summary

Rounds = Sequence[Sequence[float]]

REPLICATES = 1000
# Of a round with more steps, quartiles are written instead of all of them.
MOST_STEPS_KEPT = 8
# A median whose interval is wider than this share of it, or rounds further apart, are noisy.
NOISY_INTERVAL = 0.10
NOISY_SPREAD = 1.5
# Of fewer rounds no interval is to be trusted: it holds the truth less often than it says.
FEWEST_ROUNDS = 5


def summarise(rounds: Rounds, seed: int = 0) -> Summary:
    """All rounds together, and the 95 % interval of the median; of one round, its whole range."""
    pooled = np.concatenate([np.asarray(each, float) for each in rounds])
    p10, median, p90, p99 = np.quantile(pooled, [0.1, 0.5, 0.9, 0.99])
    low, high = float(pooled.min()), float(pooled.max())
    # One round tells nothing of how rounds differ.
    if len(rounds) > 1:
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


def shortened(seconds: Sequence[float]) -> tuple[float, ...]:
    """A round's steps, or where there are more than MOST_STEPS_KEPT, least, quartiles and most."""
    if len(seconds) <= MOST_STEPS_KEPT:
        return tuple(seconds)
    return tuple(map(float, np.quantile(seconds, np.linspace(0, 1, 5))))


def lengthened(row: Row) -> list[list[float]]:
    """A row's rounds with as many steps as were timed, those between two quartiles on a line."""
    return [
        list(kept if steps == len(kept) else np.interp(_places(steps), _places(len(kept)), kept))
        for steps, kept in zip(row.steps, row.rounds, strict=True)
    ]


def _places(steps: int) -> NDArray[np.float64]:
    return np.linspace(0, 1, steps)


def ratio_interval(
    numerator: Rounds, denominator: Rounds, seed: int = 0, *, ratio: float | None = None
) -> tuple[float, float, float]:
    """The ratio of two medians with its 95 % interval: ratio, low, high.

    ratio   where it is known better than from rounds of which only quartiles are left
    """
    ratio = ratio or _median(numerator) / _median(denominator)
    replicates = bootstrap_medians(numerator, seed) / bootstrap_medians(denominator, seed + 1)
    return (ratio, *_widened(ratio, replicates, min(len(numerator), len(denominator))))


def paired_ratio(
    numerator: Rounds, denominator: Rounds, seed: int = 0
) -> tuple[float, float, float]:
    """The ratio of two cases measured in the same rounds, with its 95 % interval: ratio, low, high.

    Of each round the ratio of the medians, and of these the estimate of Hodges and Lehmann (1963):
    the median of all means of two, on the logarithm. A round in which something else disturbed
    one of the two moves it little.
    """
    logs_R = np.log(round_ratios(numerator, denominator))
    rng = np.random.default_rng(seed)
    drawn_DR = logs_R[rng.integers(len(logs_R), size=(REPLICATES, len(logs_R)))]
    ratio = math.exp(float(_hodges_lehmann(logs_R[None])[0]))
    return (ratio, *_widened(ratio, np.exp(_hodges_lehmann(drawn_DR)), len(logs_R)))


def round_ratios(numerator: Rounds, denominator: Rounds) -> NDArray[np.float64]:
    """The ratio of the medians in each round that both had."""
    both = zip(numerator, denominator, strict=False)
    return np.array([np.median(one) / np.median(other) for one, other in both])


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
    if len(rounds) < FEWEST_ROUNDS:
        rounds_are = "round is" if len(rounds) == 1 else "rounds are"
        reasons.append(f"{len(rounds)} {rounds_are} too few")
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
    return math.sqrt(rounds / (rounds - 1)) * student_975(rounds - 1) / NORMAL_975


def _hodges_lehmann(values_DR: NDArray[np.float64]) -> NDArray[np.float64]:
    one, other = np.triu_indices(values_DR.shape[1])
    middle_D: NDArray[np.float64] = np.median((values_DR[:, one] + values_DR[:, other]) / 2, axis=1)
    return middle_D


def _widened(middle: float, replicates: NDArray[np.float64], rounds: int) -> tuple[float, float]:
    # On the logarithm, so that a wide interval of a time stays above 0.
    deviations = np.log(np.quantile(replicates, [0.025, 0.975]) / middle)
    low, high = middle * np.exp(deviations * widening(rounds))
    return min(float(low), middle), max(float(high), middle)


def _median(rounds: Rounds) -> float:
    return float(np.median(np.concatenate([np.asarray(each, float) for each in rounds])))
