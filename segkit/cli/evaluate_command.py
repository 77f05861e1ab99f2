"""`segkit evaluate`: scores of a trained model, per class, with their conventions."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.completion import ComponentName
from segkit.cli.data_options import data_choices, data_options
from segkit.cli.declaring import TorchCommand
from segkit.cli.memory_option import keep_freed_memory_option

if TYPE_CHECKING:
    from segkit.scoring.evaluate_model import Evaluation

BATCH = "Images, or tiles, at a time."
TILE = "Score larger images in tiles of so many pixels a side. [default: images whole]"
OVERLAP = "Share of a tile that neighbours have in common."
DEVICE = "auto, cpu, cuda, cuda:N or mps."


@click.command("evaluate", cls=TorchCommand)
@click.argument("run")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Images and masks. [default: what RUN was trained on]",
)
@click.option(
    "--dataset",
    type=ComponentName("datasets"),
    help="Published set that --data holds. [default: as in training, without --data]",
)
@click.option("--split", default="val", show_default=True, help="Which part; all is taken too.")
@data_choices
@click.option(
    "--metric",
    type=ComponentName("metrics"),
    help="One or several, as miou,dice. [default: as in training, and iou]",
)
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help=BATCH)
@click.option("--tile", type=click.IntRange(16), help=TILE)
@click.option(
    "--overlap", type=click.FloatRange(0, 0.9), default=0.25, show_default=True, help=OVERLAP
)
@click.option("--device", default="auto", show_default=True, help=DEVICE)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="Of the arithmetic.",
)
@click.option("--workers", type=click.IntRange(min=0), help="Reading processes. [default: auto]")
@keep_freed_memory_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    run: str,
    data: Path | None,
    dataset: str | None,
    split: str,
    metric: str | None,
    batch: int,
    tile: int | None,
    overlap: float,
    device: str,
    precision: str,
    workers: int | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """Score RUN, a run folder, a model folder or hf:owner/name, on a split of a data set.

    \b
    segkit evaluate runs/street --split test
    segkit evaluate runs/street --data DIR --metric miou,dice,boundary_iou --json
    """
    from segkit.inference.tiling import Tiling
    from segkit.scoring.evaluate_model import EvaluationSettings, evaluate_model

    settings = EvaluationSettings(
        model=run,
        split=split,
        data=data,
        options=data_options(dataset, choices),
        metric=metric,
        batch=batch,
        device=device,
        precision=precision,
        workers=workers,
        tiling=Tiling(tile, overlap, batch) if tile else None,
    )
    evaluation = evaluate_model(settings, _progress())
    if _speaks():
        click.echo(json.dumps(_as_json(evaluation), indent=2) if as_json else _as_text(evaluation))


def _progress() -> Callable[[int, int], None]:
    """Shows how far the scoring is, where a person is watching."""
    if not (_speaks() and sys.stderr.isatty()):
        return lambda done, images: None
    return lambda done, images: click.echo(
        f"\r{min(done, images)}/{images} images" + "\n" * (done >= images), nl=False, err=True
    )


def _speaks() -> bool:
    """Whether this is the first of torchrun's processes, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def _as_json(evaluation: Evaluation) -> dict[str, Any]:
    scores = evaluation.scores
    counts_KK = scores.counts_KK
    return {
        "model": evaluation.model,
        "data": evaluation.data,
        "split": evaluation.split,
        "images": scores.images,
        "scores": {n: None if math.isnan(v) else v for n, v in scores.values.items()},
        "conventions": dict(scores.conventions),
        "classes": list(evaluation.classes),
        "ignore_index": evaluation.ignore_index,
        "confusion": None if counts_KK is None else counts_KK.tolist(),
        "device": evaluation.device,
        "precision": evaluation.precision,
        "notes": list(evaluation.notes),
    }


def _as_text(evaluation: Evaluation) -> str:
    from segkit.reporting.tables import aligned

    scores = evaluation.scores
    rows = [[_title(name, evaluation.classes), value] for name, value in scores.values.items()]
    lines = [
        f"{evaluation.model} on {scores.images} images of {evaluation.data}, {evaluation.split} "
        f"({evaluation.device}, {evaluation.precision})",
        *evaluation.notes,
        "",
        aligned(rows),
        "",
    ]
    lines += [f"{name}: {sentence}" for name, sentence in scores.conventions.items() if sentence]
    return "\n".join(lines)


def _title(name: str, classes: tuple[str, ...]) -> str:
    """`iou/3` with the name of class 3."""
    prefix, slash, place = name.rpartition("/")
    if slash and place.isdigit() and int(place) < len(classes):
        return f"{prefix}/{classes[int(place)]}"
    return name
