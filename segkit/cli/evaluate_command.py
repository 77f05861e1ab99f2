"""`segkit evaluate`: scores of a trained model, per class, with their conventions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.options.completion import ComponentName
from segkit.cli.options.data_options import data_of_model, data_options
from segkit.cli.options.declaring import TorchCommand, counter, is_first_process, repeated, say
from segkit.cli.options.machine_options import (
    device_options,
    keep_freed_memory_option,
    workers_option,
)

if TYPE_CHECKING:
    from segkit.scoring.evaluate_model import Evaluation, EvaluationSettings

BATCH = "Images, or tiles, at a time."
TILE = "Score larger images in tiles of so many pixels a side. [default: images whole]"
OVERLAP = "Share of a tile that neighbours have in common."
OUT = "Folder that keeps tables, pictures and report.html. [default: nothing is kept]"


@click.command("evaluate", cls=TorchCommand)
@click.argument("runs", nargs=-1, required=True)
@data_of_model
@click.option(
    "--metric",
    type=ComponentName("metrics"),
    help="One or several, as miou,dice. [default: as in training, and iou]",
)
@click.option("--out", type=click.Path(path_type=Path), help=OUT)
@click.option("--overwrite", is_flag=True, help="Replace results that are in --out already.")
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help=BATCH)
@click.option("--tile", type=click.IntRange(16), help=TILE)
@click.option(
    "--overlap", type=click.FloatRange(0, 0.9), default=0.25, show_default=True, help=OVERLAP
)
@device_options
@workers_option
@keep_freed_memory_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    runs: tuple[str, ...],
    data: Path | None,
    dataset: str | None,
    split: str,
    metric: str | None,
    out: Path | None,
    overwrite: bool,
    batch: int,
    tile: int | None,
    overlap: float,
    device: str,
    precision: str,
    workers: int | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """Score RUNS, run folders, model folders or hf:owner/name, on a split of a data set.

    \b
    segkit evaluate runs/street --split test
    segkit evaluate runs/street --data DIR --metric miou,dice,boundary_iou --json
    segkit evaluate runs/street --out street-scores
    segkit evaluate runs/a runs/b --data DIR --split all

    --out keeps report.html, every image's and every class's scores with 95 % intervals, confusion
    matrix, calibration, and the worst images as pictures. Several RUNS are scored on the same
    images and compared with the first.
    """
    from segkit.inference.tiling import Tiling
    from segkit.scoring.evaluate_model import EvaluationSettings

    asked = EvaluationSettings(
        model=runs[0],
        split=split,
        data=data,
        options=data_options(dataset, choices),
        metric=metric,
        batch=batch,
        device=device,
        precision=precision,
        workers=workers,
        tiling=Tiling(tile, overlap, batch) if tile else None,
        details=out is not None or len(runs) > 1,
    )
    _score(asked, runs, out, overwrite=overwrite, as_json=as_json)


def _score(
    asked: EvaluationSettings,
    runs: Sequence[str],
    out: Path | None,
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    from segkit.scoring.evaluate_model import evaluate_model
    from segkit.scoring.evaluation_folder import as_plain, refuse_used, write_evaluation

    _refuse_twice(runs)
    folders = _folders(out, runs)
    for folder in folders.values():
        refuse_used(folder, overwrite=overwrite)
    found = []
    for run in runs:
        evaluation = evaluate_model(replace(asked, model=run), counter("images"))
        found.append(evaluation)
        if run in folders:
            write_evaluation(evaluation, folders[run], repeated(click.get_current_context().obj))
    if not is_first_process():
        return
    several = _compare(found, out, folders) if len(found) > 1 else ""
    if as_json:
        said = [as_plain(each) for each in found]
        say(json.dumps(said if len(said) > 1 else said[0], indent=2))
        return
    for evaluation in found:
        say(_as_text(evaluation))
    if several:
        say(several)
    if out is not None:
        say(f"\nkept in {out}: open {out / 'report.html'}")


def _refuse_twice(runs: Sequence[str]) -> None:
    from segkit.errors import UsageError

    if twice := [run for run in runs if runs.count(run) > 1]:
        raise UsageError("SK-C009", f"{twice[0]} is named twice.", "Name each run once.")


def _folders(out: Path | None, runs: Sequence[str]) -> dict[str, Path]:
    """Where each run's results go: of several into folders of their own."""
    if out is None:
        return {}
    if len(runs) == 1:
        return {runs[0]: out}
    names = [Path(run).name for run in runs]
    if len({name.casefold() for name in names}) < len(names):
        names = [f"{place}-{name}" for place, name in enumerate(names, start=1)]
    return {run: out / name for run, name in zip(runs, names, strict=True)}


def _compare(found: Sequence[Evaluation], out: Path | None, folders: dict[str, Path]) -> str:
    """The table of several runs; kept as comparison.csv and a page."""
    from segkit.reporting.report import with_interval
    from segkit.reporting.tables import aligned
    from segkit.scoring.comparison import METHOD, compared
    from segkit.scoring.comparison_page import write_comparison

    table = compared(found)
    if out is not None:
        places = [folder.name for folder in folders.values()]
        write_comparison(table, found, places, out, repeated(click.get_current_context().obj))
    rows = []
    for each in table:
        score, gap = each.score, each.difference
        difference = f"{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})" if gap else ""
        rows.append(
            [each.run, with_interval(score.value, score.low, score.high), difference, each.verdict]
        )
    header = ("run", "mean IoU", "less the first", "")
    return f"\n{aligned(rows, header)}\n\n{METHOD}"


def _as_text(evaluation: Evaluation) -> str:
    from segkit.reporting.tables import aligned
    from segkit.scoring.evaluation_page import scored_name

    scores = evaluation.scores
    rows = [[scored_name(name, evaluation.classes), value] for name, value in scores.values.items()]
    lines = [
        f"{evaluation.model} on {scores.images} images of {evaluation.data}, {evaluation.split} "
        f"({evaluation.device}, {evaluation.precision})",
        *evaluation.notes,
        *evaluation.cautions,
        "",
        aligned(rows),
        "",
    ]
    same: dict[str, list[str]] = {}
    for name, sentence in scores.conventions.items():
        same.setdefault(sentence, []).append(name)
    lines += [f"{', '.join(names)}: {sentence}" for sentence, names in same.items() if sentence]
    return "\n".join(lines)
