"""What a table says of runs: their state by their own logs, means with intervals over seeds."""

import csv
import json

import numpy as np
import pytest
from scipy import stats

from segkit.sweep.outcomes import T_975, interval, outcome_of, summaries, write_tables
from segkit.sweep.points import grid_of, points_of


@pytest.fixture
def runs(tmp_path):
    """runs(["lr=1,2"], score of each or None): outcomes of runs that were written so."""

    def make(grid, scores, ended=0):
        found = []
        for point, score in zip(points_of(grid_of(grid)), scores, strict=True):
            folder = tmp_path / point.name
            folder.mkdir()
            if score is not None:
                reports = [
                    {"epoch": 1, "scores": {"miou": score}, "score_name": "miou", "is_best": True},
                    {"epoch": 2, "scores": {"miou": 0}, "score_name": "miou", "is_best": False},
                ]
                (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, reports)))
            (folder / "config.yaml").write_text("epochs: 4\n")
            found.append(outcome_of(point, folder, ended))
        return found

    return make


def test_the_table_of_t_is_that_of_scipy():
    exact = [stats.t.ppf(0.975, df) for df in range(1, len(T_975) + 1)]
    assert np.round(exact, 3).tolist() == list(T_975)


def test_the_interval_is_that_of_scipy():
    values = [0.61, 0.64, 0.6, 0.66]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert interval(values) == pytest.approx((low, high), abs=1e-4)
    assert interval([0.6]) is None


@pytest.mark.parametrize(
    ("score", "ended", "state"),
    [
        (0.5, 0, "finished"),
        (0.5, None, "stopped"),
        (0.5, 143, "stopped"),
        (0.5, 6, "failed"),
        (None, None, "waiting"),
        (None, 3, "failed"),
    ],
)
def test_a_run_says_what_became_of_it(runs, score, ended, state):
    [outcome] = runs(["lr=1"], [score], ended)
    assert outcome.state == state
    assert outcome.score == score


def test_one_that_came_to_its_end_is_finished_whoever_knows(runs, tmp_path):
    [outcome] = runs(["lr=1"], [0.5], None)
    (outcome.folder / "config.yaml").write_text("epochs: 2\n")
    assert outcome_of(outcome.point, outcome.folder).state == "finished"


def test_means_are_over_seeds_and_the_best_comes_first(runs, tmp_path):
    outcomes = runs(["lr=1,2,3", "seed=0,1"], [0.1, 0.2, 0.6, 0.8, None, None])
    found = summaries(outcomes)
    assert [(s.settings, s.runs) for s in found] == [
        ({"lr": "2"}, 2),
        ({"lr": "1"}, 2),
        ({"lr": "3"}, 0),
    ]
    assert found[0].mean == pytest.approx(0.7)
    assert found[0].low == pytest.approx(0.7 - 12.706 * 0.1, abs=1e-4)
    assert [s.settings["lr"] for s in summaries(outcomes, higher_is_better=False)] == [
        "1",
        "2",
        "3",
    ]
    write_tables(outcomes, found, tmp_path)
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [row["score"] for row in rows] == ["0.1", "0.2", "0.6", "0.8", "", ""]
    assert next(csv.DictReader((tmp_path / "summary.csv").open()))["lr"] == "2"
