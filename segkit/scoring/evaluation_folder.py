"""An evaluation as a folder: tables, pictures, and a page that holds them all."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.errors import UsageError
from segkit.reporting import charts
from segkit.reporting.figures import LIGHT, png
from segkit.reporting.pictures import write_picture
from segkit.reporting.tables import as_csv_text
from segkit.scoring.details import Details
from segkit.scoring.evaluate_model import Evaluation
from segkit.scoring.intervals import METHOD
from segkit.scoring.score_tables import Interval, class_rows, image_rows, of_classes, overall
from segkit.storage import replace_text, storage_errors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORES, REPORT = "scores.json", "report.html"


def as_plain(evaluation: Evaluation) -> dict[str, Any]:
    """Scores and conditions in plain types, NaN as None; intervals where details were kept."""
    scores, details = evaluation.scores, evaluation.details
    said = {
        "model": evaluation.model,
        "data": evaluation.data,
        "split": evaluation.split,
        "images": scores.images,
        "scores": {n: None if math.isnan(v) else v for n, v in scores.values.items()},
        "conventions": dict(scores.conventions),
        "classes": list(evaluation.classes),
        "ignore_index": evaluation.ignore_index,
        "confusion": scores.counts_KK.tolist(),
        "device": evaluation.device,
        "precision": evaluation.precision,
        "notes": list(evaluation.notes),
        "cautions": list(evaluation.cautions),
    }
    if details is not None:
        found = overall(details.images)
        said["intervals"] = {name: each.as_json() for name, each in found.items()}
        said["interval_method"] = METHOD
        if details.calibration is not None:
            said["expected_calibration_error"] = details.calibration.error
            said["temperature"] = details.calibration.temperature
        if details.untempered is not None:
            said["expected_calibration_error_untempered"] = details.untempered.error
    return said


def refuse_used(folder: Path, *, overwrite: bool) -> None:
    """Raises UsageError SK-C012 where a folder holds results already, SK-C009 where it is none."""
    if folder.exists() and not folder.is_dir():
        raise UsageError("SK-C009", f"--out {folder} is a file.", "Give the name of a folder.")
    if not overwrite and (folder / SCORES).exists():
        raise UsageError(
            "SK-C012",
            f"{folder} holds the results of an evaluation already.",
            "Give another folder with --out, or allow it with --overwrite.",
        )


def write_evaluation(evaluation: Evaluation, folder: Path, command: str) -> Path:
    """Writes what an evaluation with details found; returns the folder.

    command   that repeats it, for the page
    Files of a former evaluation are replaced, and its cases removed. Raises StorageError.
    """
    from segkit.scoring.evaluation_page import evaluation_page

    details = evaluation.details
    if details is None:
        raise ValueError("an evaluation without details has nothing to keep")
    by_class = of_classes(details.images)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _write_tables(evaluation, details, by_class, folder)
        drawings = {"confusion": charts.confusion(_counts(evaluation), evaluation.classes, LIGHT)}
        if details.calibration is not None:
            curve, error = details.calibration.curve(), details.calibration.error
            drawings["calibration"] = charts.calibration(*curve, error, LIGHT)
            if details.untempered is not None:
                before = details.untempered.curve(), details.untempered.error
                drawings["calibration-untempered"] = charts.calibration(
                    *before[0], before[1], LIGHT, name="Calibration at temperature 1"
                )
            pairs = details.calibration.risk_coverage()
            drawings["risk-coverage"] = charts.risk_coverage(*pairs, LIGHT)
        _write_pictures(drawings, details, folder)
        page = evaluation_page(evaluation, details, by_class, command)
        replace_text(folder / REPORT, page.as_html())
        replace_text(folder / SCORES, json.dumps(as_plain(evaluation), indent=2) + "\n")
    return folder


def _counts(evaluation: Evaluation) -> Any:
    return evaluation.scores.counts_KK.numpy()


def _write_tables(
    evaluation: Evaluation, details: Details, by_class: dict[str, list[Interval]], folder: Path
) -> None:
    classes, counts_KK = evaluation.classes, _counts(evaluation).tolist()
    write_csv(folder / "images.csv", image_rows(details, classes))
    write_csv(folder / "classes.csv", class_rows(details.images, classes, by_class))
    confusion = [[name, *row] for name, row in zip(classes, counts_KK, strict=True)]
    write_csv(folder / "confusion.csv", [["true / predicted", *classes], *confusion])
    if details.calibration is not None:
        pixels, certainty, right = (each.tolist() for each in details.calibration.curve())
        bins = len(pixels)
        rows = [
            [
                at / bins,
                (at + 1) / bins,
                pixels[at],
                *(_known(each[at]) for each in (certainty, right)),
            ]
            for at in range(bins)
        ]
        header = ["above", "up_to", "pixels", "mean_certainty", "share_right"]
        write_csv(folder / "calibration.csv", [header, *rows])
        coverage, risk = (each.tolist() for each in details.calibration.risk_coverage())
        kept = zip(coverage, risk, strict=True)
        write_csv(folder / "risk-coverage.csv", [["share_kept", "share_wrong"], *map(list, kept)])


def _write_pictures(drawings: dict[str, Figure], details: Details, folder: Path) -> None:
    for name, drawing in drawings.items():
        (folder / f"{name}.png").write_bytes(png(drawing))
    cases = folder / "cases"
    cases.mkdir(exist_ok=True)
    for former in [*cases.glob("worst-*.png"), *cases.glob("median-*.png")]:
        former.unlink()
    for place, case in enumerate(details.cases, start=1):
        plain = re.sub(r"[^\w.-]+", "_", case.name)[-80:]
        write_picture(cases / f"{case.kind}-{place:02d}-{plain}.png", case.sheet)


def write_csv(file: Path, rows: Sequence[Sequence[object]]) -> None:
    """Writes a table; what is None is an empty cell."""
    replace_text(file, as_csv_text(rows), durable=False)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
