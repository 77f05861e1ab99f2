"""Figures of times: against numpy, SciPy and simulated machines whose true median is known."""

import numpy as np
import pytest
from scipy import stats

from segkit.bench.comparison.statistics import (
    is_stable,
    noise,
    paired_ratio,
    ratio_interval,
    round_ratios,
    summarise,
    widening,
)
from segkit.bench.records.controls import ControlPair, Controls
from segkit.bench.records.quantiles import STUDENT_975, student_975


def machine(rng, rounds=5, steps=12, median=0.1, drift=0.02, jitter=0.03):
    """Times whose rounds drift and whose steps jitter, around a median that is known."""
    return [
        list(median * np.exp(drift * rng.standard_normal() + jitter * rng.standard_normal(steps)))
        for _ in range(rounds)
    ]


def test_percentiles_are_numpys_over_all_rounds():
    rounds = [[0.3, 0.1, 0.2], [0.5], [0.4, 0.9]]
    summary, pooled = summarise(rounds), [0.3, 0.1, 0.2, 0.5, 0.4, 0.9]
    assert summary.n == 6
    assert summary.median == pytest.approx(np.median(pooled))
    assert summary.p10 == pytest.approx(np.percentile(pooled, 10))
    assert summary.p90 == pytest.approx(np.percentile(pooled, 90))
    assert summary.p99 == pytest.approx(np.percentile(pooled, 99))
    assert summary.low <= summary.median <= summary.high


def test_equal_times_have_an_interval_without_width():
    summary = summarise([[0.02] * 5] * 4)
    assert (summary.low, summary.median, summary.high) == (0.02, 0.02, 0.02)


def test_students_quantiles_are_scipys():
    for freedom, quantile in enumerate(STUDENT_975, start=1):
        assert quantile == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-5)
    assert student_975(100) == pytest.approx(stats.t.ppf(0.975, 100), rel=0.02)
    assert widening(1000) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("rounds", [3, 5, 10])
def test_the_interval_of_a_median_holds_the_truth_in_95_of_100_runs(rounds):
    rng = np.random.default_rng(0)
    summaries = [summarise(machine(rng, rounds)) for _ in range(150)]
    held = np.mean([s.low <= 0.1 <= s.high for s in summaries])
    assert held >= 0.91  # 0.95 less two standard deviations of 150 trials


def test_without_drift_the_interval_is_as_wide_as_scipys_bootstrap():
    rng = np.random.default_rng(1)
    widths, theirs = [], []
    for _ in range(5):
        rounds = machine(rng, rounds=20, steps=10, drift=0)
        ours = summarise(rounds)
        pooled = (np.concatenate(rounds),)
        found = stats.bootstrap(pooled, np.median, n_resamples=999, method="percentile")
        widths.append(ours.high - ours.low)
        theirs.append(found.confidence_interval.high - found.confidence_interval.low)
    # Drawing twice doubles the variance where rounds do not differ; and 1.09 for 20 rounds.
    assert 1.3 <= np.mean(widths) / np.mean(theirs) <= 1.9


def test_a_slow_down_of_a_fifth_stands_outside_the_interval_and_no_change_within():
    rng = np.random.default_rng(2)
    changed, same = [], []
    for _ in range(40):
        before = machine(rng)
        changed.append(ratio_interval(machine(rng, median=0.12), before))
        same.append(ratio_interval(machine(rng), before))
    assert np.mean([low > 1 for _, low, _ in changed]) >= 0.95
    assert np.mean([low <= 1 <= high for _, low, high in same]) >= 0.9
    assert np.mean([ratio for ratio, _, _ in changed]) == pytest.approx(1.2, rel=0.02)


def two_machines(rng, ratio, rounds=10, drift=0.2, jitter=0.02):
    """Times of two cases that drift together, far more than they differ by chance."""
    drift_R = np.exp(drift * rng.standard_normal(rounds))
    return [
        [list(0.1 * factor * d * np.exp(jitter * rng.standard_normal(8))) for d in drift_R]
        for factor in (ratio, 1.0)
    ]


def test_a_ratio_by_rounds_is_the_hodges_lehmann_estimate_by_hand():
    ratio, low, high = paired_ratio([[2.0], [4.0], [32.0]], [[1.0], [1.0], [2.0]])
    # Logarithms to base 2: 1, 2, 4; means of two: 1, 1.5, 2, 2.5, 3, 4; their median 2.25.
    assert ratio == pytest.approx(2**2.25)
    assert low <= ratio <= high
    assert paired_ratio([[0.3]] * 5, [[0.1]] * 5) == pytest.approx((3, 3, 3))


def test_drift_that_both_share_cancels_from_a_ratio_by_rounds_only():
    rng = np.random.default_rng(4)
    held, widths = [], []
    for _ in range(150):
        one, other = two_machines(rng, 1.5)
        _, low, high = paired_ratio(one, other)
        held.append(low <= 1.5 <= high)
        widths.append(high / low - 1)
    assert np.mean(held) >= 0.91
    assert np.mean(widths) < 0.05
    _, low, high = ratio_interval(one, other)
    assert high / low - 1 > 0.3


def test_a_disturbed_round_moves_a_ratio_by_rounds_little():
    one, other = two_machines(np.random.default_rng(5), 1.2)
    one[3] = [3 * each for each in one[3]]
    assert paired_ratio(one, other)[0] == pytest.approx(1.2, rel=0.04)


def pair_of(ratios):
    ratio, low, high = paired_ratio([[each] for each in ratios], [[1.0]] * len(ratios))
    return ControlPair(case="a", ratio=ratio, low=low, high=high, rounds=tuple(ratios))


def controls(rng, rounds, scatter, lasting):
    """A pair whose rounds scatter, between two processes that differ for as long as they live."""
    shift = lasting * rng.standard_normal()
    return pair_of(np.exp(shift + scatter * rng.standard_normal(rounds)))


@pytest.mark.parametrize(
    ("pairs", "lasting", "least"),
    [(1, 0.0, 0.93), (2, 0.0, 0.93), (2, 0.02, 0.86), (4, 0.02, 0.87)],
)
def test_the_band_holds_another_ratio_of_identical_cases(pairs, lasting, least):
    rng = np.random.default_rng(6)
    held, bands = [], []
    for _ in range(250):
        band = Controls(pairs=tuple(controls(rng, 10, 0.05, lasting) for _ in range(pairs))).band
        held.append(1 / band <= controls(rng, 10, 0.05, lasting).ratio <= band)
        bands.append(band)
    assert np.mean(held) >= least
    # 5 % of scatter over 10 rounds: 1.6 %, so a band of 3.6 % at the least.
    assert np.median(bands) < 1.09


def test_the_band_is_by_hand_from_intervals_and_ratios():
    def pair(ratio, low, high, rounds=7):
        return ControlPair(case="a", ratio=ratio, low=low, high=high, rounds=(ratio,) * rounds)

    # Nothing lasts: the interval itself, of as many degrees of freedom.
    assert Controls(pairs=(pair(1, 1 / 1.1, 1.1),)).band == pytest.approx(1.1)
    # Nothing but what lasts: Student's quantile for the number of pairs, 2 at the least.
    lasting = pair(1.1, 1.1, 1.1)
    assert Controls(pairs=(lasting,)).band == pytest.approx(1.1 ** stats.t.ppf(0.975, 2))
    four = (lasting, pair(1 / 1.1, 1 / 1.1, 1 / 1.1)) * 2
    assert Controls(pairs=four).band == pytest.approx(1.1 ** stats.t.ppf(0.975, 4))
    assert Controls(pairs=(pair(1, 1, 1),)).band == 1


def test_rounds_that_one_of_two_missed_do_not_count():
    assert list(round_ratios([[2.0], [3.0]], [[1.0], [1.0], [9.0]])) == [2, 3]


def test_few_rounds_are_marked():
    assert noise([[1.0]] * 4, summarise([[1.0]] * 4)) == "4 rounds are too few"
    assert noise([[1.0]] * 5, summarise([[1.0]] * 5)) == ""


def test_a_quiet_machine_is_quiet_and_a_busy_one_is_marked():
    rng = np.random.default_rng(3)
    quiet = machine(rng, drift=0.002, jitter=0.01)
    assert noise(quiet, summarise(quiet)) == ""
    busy = [*quiet[:-1], [2 * each for each in quiet[-1]]]
    assert "rounds 1" in noise(busy, summarise(busy))


@pytest.mark.parametrize(
    ("seconds", "stable"),
    [
        ([1.0] * 9, False),
        ([1.0] * 10, True),
        ([2.0] * 5 + [1.0] * 5, False),
        ([9.0, *[1.0] * 9], True),
        (list(np.linspace(2, 1, 10)), False),
    ],
)
def test_warm_up_ends_when_the_rolling_median_stands_still(seconds, stable):
    assert is_stable(seconds) is stable
