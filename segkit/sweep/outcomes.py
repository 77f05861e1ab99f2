"""What became of a sweep's runs, and their scores with intervals over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.config import read_config
from segkit.errors import UsageError
from segkit.reporting.tables import as_csv_text
from segkit.storage import replace_text, storage_errors
from segkit.sweep.points import Point
from segkit.training.run.run_folder import RunFolder

# The 97.5th percentile of Student's t for 1 to 30 degrees of freedom (Student 1908; the table of
# any statistics textbook).
T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
METHOD = "95 % interval of the mean over seeds, by Student's t; none for a single run."


@dataclass(frozen=True)
class Outcome:
    """A point's run as it lies on the disk.

    state       finished, stopped (it can go on), waiting, or failed
    score       of the best epoch on the validation images; None where there is none yet
    score_name  which score that is
    epoch       the best one, from 1
    epochs      done so far
    """

    point: Point
    folder: Path
    state: str
    score: float | None = None
    score_name: str = ""
    epoch: int | None = None
    epochs: int = 0


@dataclass(frozen=True)
class Summary:
    """Runs that differ in their seed alone: how many, mean score, and its 95 % interval."""

    settings: Mapping[str, str]
    runs: int
    mean: float | None
    low: float | None
    high: float | None


def outcome_of(point: Point, folder: Path, ended: int | None = None) -> Outcome:
    """Reads a run's folder; `ended` is the exit status of its last job, where that is known."""
    reports = _reports(folder)
    if not reports:
        return Outcome(point, folder, "failed" if ended else "waiting")
    finished = ended == 0 or reports[-1]["epoch"] >= (_epochs(folder) or math.inf)
    state = "finished" if finished else ("failed" if _is_failure(ended) else "stopped")
    best = next((each for each in reversed(reports) if each.get("is_best")), None)
    name = best["score_name"] if best else ""
    return Outcome(
        point,
        folder,
        state,
        score=best["scores"].get(name) if best else None,
        score_name=name,
        epoch=best["epoch"] if best else None,
        epochs=reports[-1]["epoch"],
    )


def summaries(outcomes: Sequence[Outcome], *, higher_is_better: bool = True) -> list[Summary]:
    """Finished runs, those of equal settings but for the seed together; the best mean first."""
    groups: dict[tuple[tuple[str, str], ...], list[Outcome]] = {}
    for each in outcomes:
        key = tuple((k, v) for k, v in each.point.settings.items() if k != "seed")
        groups.setdefault(key, []).append(each)
    found = [_summary(dict(key), group) for key, group in groups.items()]
    sign = -1 if higher_is_better else 1
    return sorted(found, key=lambda s: (s.mean is None, sign * (s.mean or 0.0)))


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean by Student's t; None of fewer than two."""
    if len(values) < 2:
        return None
    t = T_975[len(values) - 2] if len(values) <= len(T_975) + 1 else 1.96
    half = t * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return mean - half, mean + half


def write_tables(outcomes: Sequence[Outcome], means: Sequence[Summary], folder: Path) -> None:
    """results.csv, a row a run, and summary.csv, a row a combination; raises StorageError."""
    keys = list(dict.fromkeys(key for each in outcomes for key in each.point.settings))
    head = [*keys, "state", "score_name", "score", "best_epoch", "epochs", "run"]
    rows: list[list[object]] = [
        [
            *(each.point.settings.get(key) for key in keys),
            *(each.state, each.score_name, each.score, each.epoch, each.epochs, each.folder.name),
        ]
        for each in outcomes
    ]
    varied = [key for key in keys if key != "seed"]
    means_head = [*varied, "runs", "mean", "low", "high"]
    means_rows: list[list[object]] = [
        [*(each.settings.get(key) for key in varied), each.runs, each.mean, each.low, each.high]
        for each in means
    ]
    tables: dict[str, list[list[object]]] = {
        "results.csv": [[*head], *rows],
        "summary.csv": [[*means_head], *means_rows],
    }
    for name, table in tables.items():
        with storage_errors(folder / name):
            replace_text(folder / name, as_csv_text(table))


def _summary(settings: Mapping[str, str], group: Sequence[Outcome]) -> Summary:
    scores = [e.score for e in group if e.state == "finished" and e.score is not None]
    low, high = interval(scores) or (None, None)
    return Summary(settings, len(scores), statistics.fmean(scores) if scores else None, low, high)


def _is_failure(ended: int | None) -> bool:
    """A status that says more than that it was stopped: 130, 137, 143 can go on."""
    return ended is not None and 0 < ended <= 128


def _reports(folder: Path) -> list[dict[str, Any]]:
    run = RunFolder(folder)
    return run.reports() if run.log.is_file() else []


def _epochs(folder: Path) -> int | None:
    try:
        return read_config(RunFolder(folder).config_file).epochs
    except UsageError:
        return None
