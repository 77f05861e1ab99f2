"""The page of an evaluation."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import numpy as np
import torch

from segkit.reporting import charts
from segkit.reporting.figures import Theme
from segkit.reporting.pages import Figure
from segkit.reporting.report import (
    Report,
    Section,
    case,
    drawn,
    score_text,
    with_interval,
)
from segkit.reporting.words import duration
from segkit.scoring.details import Details
from segkit.scoring.evaluate_model import Evaluation
from segkit.scoring.intervals import FEW_IMAGES, METHOD
from segkit.scoring.score_tables import Interval, overall
from segkit.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

CASES = (
    "Image, truth, prediction and errors: right, missed and invented pixels in three colours, a "
    "fourth where a class was taken for another. The score is the image's own mean IoU over the "
    "classes in its truth or prediction. The files beside this page hold them at full size."
)
CALIBRATION = (
    "Certainty is the softmax probability of the class that a pixel is given. In 15 equal bins of "
    "it, the share of right pixels should equal it. The expected calibration error is the mean "
    "distance, weighted by pixels (Guo et al. 2017)."
)


def evaluation_page(
    evaluation: Evaluation, details: Details, by_class: dict[str, list[Interval]], command: str
) -> Report:
    """Scores with intervals, confusion, certainty, cases, and how it was done."""
    images = len(details.images.names)
    return Report(
        f"Evaluation of {evaluation.model}",
        f"{images} image{'s' * (images != 1)} of {evaluation.data}, split {evaluation.split}.",
        _headline(details),
        _warnings(evaluation, images),
        [
            _classes(evaluation, details, by_class),
            Section("Pictures of the scores", figures=_figures(evaluation, details)),
            Section("Cases", CASES, cases=_cases(details)),
            Section("All scores", pairs=_scores(evaluation)),
            Section("The data", pairs=[("note", note) for note in evaluation.notes]),
            Section("Conditions", pairs=_conditions(evaluation, details)),
            Section("Method", METHOD),
            Section("To repeat it", command=command),
        ],
    )


def _headline(details: Details) -> list[tuple[str, str, str]]:
    found = []
    for name, each in overall(details.images).items():
        told = f"95 % interval {each.low:.3f} to {each.high:.3f}" if each.low == each.low else ""
        found.append((name, score_text(each.value)[:6], told))
    if details.calibration is not None:
        error = f"{details.calibration.error:.3f}"
        told = "0 where it is as right as certain"
        if details.untempered is not None:
            temperature = details.calibration.temperature
            told += f"; {details.untempered.error:.3f} before its temperature of {temperature:.3g}"
        found.append(("calibration error", error, told))
    return found


def _warnings(evaluation: Evaluation, images: int) -> list[str]:
    found = []
    if images < FEW_IMAGES:
        found.append(
            f"Only {images} image{'s were' if images != 1 else ' was'} scored: intervals over so "
            "few tell little, and are often too narrow."
        )
    found += evaluation.cautions
    truth_K = evaluation.scores.counts_KK.sum(dim=1)
    absent = [
        name
        for label, (name, pixels) in enumerate(zip(evaluation.classes, truth_K, strict=True))
        if not pixels and label != evaluation.ignore_index
    ]
    if absent:
        found.append(f"No pixel of the truth is of the class {', '.join(absent)}.")
    return found


def _classes(
    evaluation: Evaluation, details: Details, by_class: dict[str, list[Interval]]
) -> Section:
    truth_NK = details.images.overlap.truth_XK
    pixels_K = truth_NK.sum(axis=0)
    rows = []
    for label, name in enumerate(evaluation.classes):
        cells = [
            with_interval(each[label].value, each[label].low, each[label].high)
            for each in by_class.values()
        ]
        share = f"{100 * pixels_K[label] / max(pixels_K.sum(), 1):.1f} %"
        rows.append([name, *cells, share, f"{int((truth_NK[:, label] > 0).sum())}"])
    header = ["class", "IoU", "Dice (F1)", "precision", "recall", "share of pixels", "images"]
    return Section(
        "Classes", "In brackets the 95 % interval over images.", header=header, rows=rows
    )


def _figures(evaluation: Evaluation, details: Details) -> list[Figure]:
    counts_KK, classes = evaluation.scores.counts_KK.numpy(), evaluation.classes

    found = [drawn("confusion", lambda theme: charts.confusion(counts_KK, classes, theme))]
    if np.isfinite(details.images.miou_N).any():
        scores = details.images.miou_N
        found.append(
            drawn(
                "images", lambda theme: charts.image_scores(scores, "mean IoU of an image", theme)
            )
        )
    if details.calibration is not None:
        curve, error = details.calibration.curve(), details.calibration.error
        pairs = details.calibration.risk_coverage()
        found.append(
            drawn("calibration", lambda t: charts.calibration(*curve, error, t), CALIBRATION)
        )
        found += _untempered(details)
        found.append(drawn("risk and coverage", lambda t: charts.risk_coverage(*pairs, t)))
    return found


def _untempered(details: Details) -> list[Figure]:
    """How certain the model was before its temperature was fitted."""
    if details.untempered is None or details.calibration is None:
        return []
    curve, error = details.untempered.curve(), details.untempered.error
    temperature = details.calibration.temperature

    def draw(theme: Theme) -> Drawing:
        return charts.calibration(*curve, error, theme, name="Calibration at temperature 1")

    caption = f"As it was before its logits were divided by {temperature:.4g}."
    return [drawn("calibration at temperature 1", draw, caption)]


def _cases(details: Details) -> list[Figure]:
    return [
        case(each.name, each.sheet, f"{each.kind}: {each.name}, mean IoU {each.score:.3f}")
        for each in details.cases
    ]


def _scores(evaluation: Evaluation) -> list[tuple[str, str]]:
    scores = evaluation.scores
    found = [
        (scored_name(name, evaluation.classes), score_text(value))
        for name, value in scores.values.items()
    ]
    names_of: dict[str, list[str]] = {}
    for name, text in scores.conventions.items():
        names_of.setdefault(text, []).append(name)
    return found + [(f"{', '.join(names)}: how", text) for text, names in names_of.items() if text]


def _conditions(evaluation: Evaluation, details: Details) -> list[tuple[str, str]]:
    images = len(details.images.names)
    ignored = evaluation.scores.ignored
    return [
        ("model", evaluation.model),
        ("data", f"{evaluation.data}, split {evaluation.split}"),
        (
            "ignored",
            f"label {evaluation.ignore_index}, {ignored:,} pixels"
            if evaluation.ignore_index is not None
            else "nothing",
        ),
        ("device", f"{evaluation.device}, {evaluation.precision}"),
        (
            "time",
            f"{duration(details.seconds)}, {images / max(details.seconds, 1e-9):.3g} images a "
            "second, reading and a second pass for the certainty included",
        ),
        ("versions", versions()),
    ]


def scored_name(name: str, classes: tuple[str, ...]) -> str:
    """`iou/3` with the name of class 3."""
    prefix, slash, place = name.rpartition("/")
    if slash and place.isdigit() and int(place) < len(classes):
        return f"{prefix}/{classes[int(place)]}"
    return name


def versions() -> str:
    """Of what computed it."""
    return f"segkit {__version__}, torch {torch.__version__}, Python {platform.python_version()}"
