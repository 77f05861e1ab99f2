"""The folder of a comparison: several models on the same images, as a table and a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segkit.reporting import charts
from segkit.reporting.figures import Theme
from segkit.reporting.pages import Figure
from segkit.reporting.report import Report, Section, drawn, score_text, with_interval
from segkit.reporting.words import counted
from segkit.scoring.comparison import COLUMNS, METHOD, Compared, details_of
from segkit.scoring.evaluate_model import Evaluation
from segkit.scoring.evaluation_folder import REPORT, write_csv
from segkit.scoring.evaluation_page import versions
from segkit.scoring.intervals import FEW_IMAGES, difference_interval
from segkit.scoring.intervals import METHOD as INTERVALS
from segkit.scoring.per_image import Overlap, Scores
from segkit.scoring.score_tables import Interval
from segkit.storage import replace_text, storage_errors

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

# Images that are listed, and rows of a figure.
MOST_IMAGES, MOST_CLASSES = 12, 30
ONE_TRAINING = (
    "The intervals are over images. Another seed of the same training moves a score too, and no "
    "interval here holds that: train each model several times where a small difference matters."
)


def write_comparison(
    table: Sequence[Compared],
    evaluations: Sequence[Evaluation],
    places: Sequence[str],
    folder: Path,
    command: str,
) -> Path:
    """Writes comparison.csv and report.html; returns the page.

    table     what `compared` says of the evaluations
    places    folder of each one's own page, below this one
    command   that repeats it
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(folder / "comparison.csv", [COLUMNS, *(each.as_row() for each in table)])
        page = comparison_page(table, evaluations, places, command)
        replace_text(folder / REPORT, page.as_html())
    return folder / REPORT


def comparison_page(
    table: Sequence[Compared],
    evaluations: Sequence[Evaluation],
    places: Sequence[str],
    command: str,
) -> Report:
    """Scores and paired differences, class by class and image by image."""
    first = evaluations[0]
    images = len(details_of(first).images.names)
    return Report(
        f"{len(table)} models on the same images",
        f"{counted(images, 'image')} of {first.data}, split {first.split}. Differences "
        f"are to {first.model}.",
        _headline(table),
        _warnings(evaluations, images),
        [
            _runs(table),
            Section("Pictures of the scores", figures=_figures(table)),
            _classes(evaluations),
            _images(evaluations),
            Section(
                "Each model's own page",
                links=[
                    (each.model, f"{place}/{REPORT}")
                    for each, place in zip(evaluations, places, strict=True)
                ],
            ),
            Section("Conditions", pairs=_conditions(evaluations)),
            Section("Method", f"{METHOD} {INTERVALS} {ONE_TRAINING}"),
            Section("To repeat it", command=command),
        ],
    )


def _headline(table: Sequence[Compared]) -> list[tuple[str, str, str]]:
    scored = [each for each in table if each.score.value == each.score.value]
    best = max(scored or table, key=lambda each: each.score.value)
    found = [("highest mean IoU", score_text(best.score.value)[:6], best.run)]
    for each in table[1:4]:
        gap = each.difference
        if gap is not None:
            told = f"{gap.low:+.3f} to {gap.high:+.3f}: {each.verdict}" if each.verdict else ""
            found.append((f"{each.run} less the first", f"{gap.value:+.3f}", told))
    return found


def _warnings(evaluations: Sequence[Evaluation], images: int) -> list[str]:
    found = []
    if images < FEW_IMAGES:
        found.append(
            f"Only {counted(images, 'image')}: intervals over so few are often too narrow."
        )
    for each in evaluations:
        found += [f"{each.model}: {caution}" for caution in each.cautions]
    return found


def _runs(table: Sequence[Compared]) -> Section:
    rows = []
    for each in table:
        score, gap = each.score, each.difference
        difference = _signed(gap) if gap else "the first"
        rows.append(
            [each.run, with_interval(score.value, score.low, score.high), difference, each.verdict]
        )
    header = ["model", "mean IoU", "less the first", ""]
    note = "In brackets 95 % intervals. Told apart is what leaves 0 out."
    return Section("Models", note, header=header, rows=rows)


def _figures(table: Sequence[Compared]) -> list[Figure]:
    scores = [(each.run, each.score) for each in table]
    gaps = [(each.run, each.difference) for each in table if each.difference]
    return [_intervals("mean IoU", scores, ""), _intervals("less the first", gaps, "paired")]


def _intervals(name: str, rows: Sequence[tuple[str, Interval]], note: str) -> Figure:
    lines = [(run, each.value, each.low, each.high) for run, each in rows]
    of_gaps = bool(note)

    def draw(theme: Theme) -> Drawing:
        told = "95 % intervals" + (f", {note}; the line is the first model" if note else "")
        return charts.intervals(lines, theme, name=name, note=told, zero=of_gaps)

    return drawn(name, draw)


def _classes(evaluations: Sequence[Evaluation]) -> Section:
    """Each class's IoU in every model, and its paired difference to the first."""
    overlaps = [details_of(each).images.overlap for each in evaluations]
    iou = [overlap.summed().iou_XK for overlap in overlaps]
    ends = [difference_interval(overlaps[0], other, _iou) for other in overlaps[1:]]
    rows = []
    for label, name in enumerate(evaluations[0].classes[:MOST_CLASSES]):
        row = [name, score_text(float(iou[0][label]))[:6]]
        for values_K, ends_2K in zip(iou[1:], ends, strict=True):
            value, (low, high) = float(values_K[label] - iou[0][label]), ends_2K[:, label]
            row += [score_text(float(values_K[label]))[:6], _signed(Interval(value, low, high))]
        rows.append(row)
    header = ["class", f"IoU of {evaluations[0].model}"]
    for each in evaluations[1:]:
        header += [each.model, "less the first"]
    left = len(evaluations[0].classes) - len(rows)
    note = f"The first {len(rows)}; each model's own page has all." if left else ""
    return Section("Classes", note, header=header, rows=rows)


def _iou(overlap: Overlap) -> Scores:
    return overlap.iou_XK


def _images(evaluations: Sequence[Evaluation]) -> Section:
    """The images on which the models differ most."""
    names = details_of(evaluations[0]).images.names
    miou_MN = np.stack([details_of(each).images.miou_N for each in evaluations])
    spread_N = np.nan_to_num(miou_MN.max(axis=0) - miou_MN.min(axis=0), nan=-1.0)
    order = np.argsort(-spread_N, kind="stable")[:MOST_IMAGES]
    rows = [
        [names[place], *(score_text(float(value))[:6] for value in miou_MN[:, place])]
        for place in order
        if spread_N[place] > 0
    ]
    header = ["image", *(each.model for each in evaluations)]
    note = "Where they differ most: mean IoU of the image. Each model's images.csv has all."
    return Section("Images", note if rows else "They differ on none.", header=header, rows=rows)


def _conditions(evaluations: Sequence[Evaluation]) -> list[tuple[str, str]]:
    first = evaluations[0]
    ignored = "nothing" if first.ignore_index is None else f"label {first.ignore_index}"
    return [
        ("data", f"{first.data}, split {first.split}"),
        ("ignored", ignored),
        ("device", f"{first.device}, {first.precision}"),
        ("versions", versions()),
    ]


def _signed(gap: Interval) -> str:
    if gap.value != gap.value:
        return "n/a"
    ends = f" ({gap.low:+.3f} to {gap.high:+.3f})" if gap.low == gap.low else ""
    return f"{gap.value:+.3f}{ends}"
