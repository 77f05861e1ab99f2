"""The page and the table of a cross-validation, from what its folds' runs have left."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from segkit.config import read_config
from segkit.reporting import charts
from segkit.reporting.report import Report, Section, drawn, score_text
from segkit.reporting.tables import as_csv_text
from segkit.reporting.words import counted, duration
from segkit.scoring.per_image import Overlap
from segkit.storage import read_json, replace_text, storage_errors
from segkit.training.run.report import read_confusion
from segkit.training.run.run_folder import RunFolder

# Of a fold's run, what says that it has come to its end.
FINISHED = "finished.json"
TABLE = "folds.csv"
CHOSEN = (
    "Each score is of the epoch that was best on the very images that score it: on images that "
    "chose nothing it will be a little lower."
)
SEEN = "Every image has trained members of the ensemble: only new ones can score it."


@dataclass(frozen=True)
class FoldRun:
    """One fold's training; `number` from 1."""

    number: int
    folder: Path

    @property
    def finished(self) -> bool:
        return (self.folder / FINISHED).is_file()

    @property
    def record(self) -> Mapping[str, Any]:
        """What its end left: score, scores, best_epoch, seconds."""
        content: Mapping[str, Any] = read_json(self.folder / FINISHED)
        return content

    @property
    def epochs(self) -> int:
        return len(RunFolder(self.folder).reports())

    @property
    def score(self) -> float:
        """Of the best epoch; NaN where nothing was scored."""
        return _number(self.record["scores"].get(self.record["score"]))

    @property
    def class_iou(self) -> dict[str, float]:
        """Of the best epoch, by class."""
        reports = RunFolder(self.folder).reports()
        best: dict[str, Any] = next((each for each in reversed(reports) if each.get("is_best")), {})
        return {name: _number(value) for name, value in best.get("class_iou", {}).items()}

    @property
    def images(self) -> tuple[int, int]:
        """How many train and how many validate."""
        listed = read_json(RunFolder(self.folder).samples_list)
        return len(listed.get("train", ())), len(listed.get("val", ()))


def folds_in(folder: Path) -> list[FoldRun]:
    """The folds of a cross-validation that have ended; none of any other folder."""
    if not RunFolder(folder).config_file.is_file():
        return []
    folds = read_config(RunFolder(folder).config_file).folds or 0
    runs = [FoldRun(number, folder / f"fold-{number}") for number in range(1, folds + 1)]
    return [each for each in runs if each.finished]


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """The mean and the standard deviation (n - 1) of those that are numbers; NaN where too few."""
    known = [value for value in values if not math.isnan(value)]
    return (
        fmean(known) if known else math.nan,
        stdev(known) if len(known) > 1 else math.nan,
    )


def counts_of_all(runs: Sequence[FoldRun]) -> tuple[list[str], np.ndarray] | None:
    """(classes, counts_KK): every image counted once, by the network that had not seen it."""
    tables = [read_confusion(RunFolder(each.folder).confusion) for each in runs]
    found = [each for each in tables if each is not None]
    if not found or len(found) < len(runs):
        return None
    names = list(runs[0].class_iou)
    classes = names if len(names) == len(found[0][0]) else found[0][0]
    return classes, np.sum([counts_KK for _, counts_KK in found], axis=0)


def said_of_folds(runs: Sequence[FoldRun]) -> list[str]:
    """The scores, in sentences."""
    name = str(runs[0].record["score"])
    scores = [each.score for each in runs]
    mean, spread = mean_and_spread(scores)
    if math.isnan(mean):
        return ["Nothing was scored."]
    least, most = np.nanmin(scores), np.nanmax(scores)
    told = [
        f"{name} {mean:.4f}, standard deviation {spread:.4f} over the folds "
        f"({least:.4f} to {most:.4f})."
    ]
    return [*told, CHOSEN, SEEN]


def write_folds_report(folder: Path) -> Path:
    """Writes folds.csv and report.html of a cross-validation; returns the page."""
    runs = folds_in(folder)
    classes = _class_rows(runs)
    header = ["class", "mean IoU", "standard deviation", "lowest", "highest", "all images"]
    table: list[list[object]] = [[*header, *(f"fold {each.number}" for each in runs)]]
    table += [[name, *(_cell(value) for value in (*five, *each))] for name, five, each in classes]
    with storage_errors(folder):
        replace_text(folder / TABLE, as_csv_text(table))
    shown = [[name, *map(score_text, five)] for name, five, _ in classes]
    page = _page(
        folder,
        runs,
        Section(
            "Classes",
            "IoU on the images that each fold held apart. All images: every image is counted once, "
            "by the network that had not seen it, and all counts are added up.",
            header=header,
            rows=shown,
            figures=_confusion(runs),
        ),
    )
    with storage_errors(folder):
        replace_text(folder / "report.html", page.as_html())
    return folder / "report.html"


def _page(folder: Path, runs: Sequence[FoldRun], classes: Section) -> Report:
    config = read_config(folder / "config.yaml")
    mean, spread = mean_and_spread([each.score for each in runs])
    name = str(runs[0].record["score"]) if runs else "score"
    seconds = sum(float(each.record["seconds"]) for each in runs)
    missing = (config.folds or 0) - len(runs)
    waiting = [f"{counted(missing, 'fold')} of {config.folds} not trained to the end yet."]
    rows = [
        [
            *(f"fold {each.number}", *map(str, each.images), score_text(each.score)),
            *(str(each.record["best_epoch"] or ""), duration(float(each.record["seconds"]))),
        ]
        for each in runs
    ]
    return Report(
        f"Cross-validation of {folder}",
        f"{config.folds} folds of {config.data or 'the built-in demo set'}.",
        [
            (f"mean {name}", score_text(mean), f"over {counted(len(runs), 'fold')}"),
            ("standard deviation", score_text(spread), "of the folds' scores"),
            ("time", duration(seconds), "of all trainings"),
        ],
        waiting if missing else [],
        [
            Section(
                "Folds",
                f"{CHOSEN} {SEEN}",
                header=["", "train", "validate", name, "best epoch", "time"],
                rows=rows,
                links=[
                    (f"Page of fold {each.number}", f"fold-{each.number}/report.html")
                    for each in runs
                ],
            ),
            classes,
            Section(
                "To repeat it",
                command=shlex.join(["segkit", "train", "--config", str(folder / "config.yaml")]),
            ),
        ],
    )


ClassRow = tuple[str, tuple[float, float, float, float, float], list[float]]


def _class_rows(runs: Sequence[FoldRun]) -> list[ClassRow]:
    """(class, (mean, spread, lowest, highest, of all images), of each fold)."""
    of_folds = [each.class_iou for each in runs]
    names = list(dict.fromkeys(name for each in of_folds for name in each))
    together = counts_of_all(runs)
    of_all: dict[str, float] = {}
    if together is not None:
        classes, counts_KK = together
        overlap = Overlap(counts_KK.diagonal(), counts_KK.sum(1), counts_KK.sum(0))
        of_all = dict(zip(classes, overlap.iou_XK.tolist(), strict=True))
    rows = []
    for name in names:
        each = [found.get(name, math.nan) for found in of_folds]
        known = [value for value in each if not math.isnan(value)] or [math.nan]
        five = (*mean_and_spread(each), min(known), max(known), of_all.get(name, math.nan))
        rows.append((name, five, each))
    return rows


def _confusion(runs: Sequence[FoldRun]) -> list[Any]:
    together = counts_of_all(runs)
    if together is None:
        return []
    classes, counts_KK = together
    return [drawn("confusion", lambda theme: charts.confusion(counts_KK, classes, theme))]


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _cell(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)
