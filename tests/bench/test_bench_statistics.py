"""Figures of times: against numpy, SciPy and simulated machines whose true median is known."""

import numpy as np
import pytest
from scipy import stats

from segkit.bench.statistics import (
    STUDENT_975,
    is_stable,
    noise,
    ratio_interval,
    summarise,
    widening,
)


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
