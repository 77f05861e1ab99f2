"""Scores a trained model, as its folder describes it, on a split of a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segkit.config import TrainConfig, read_config
from segkit.data.loader import EvaluationLoader
from segkit.data.opening.folder import open_data
from segkit.data.opening.named import open_named
from segkit.data.opening.opened import Data
from segkit.device import choose_precision, default_workers, describe, device_errors
from segkit.distributed import process_group
from segkit.errors import UsageError
from segkit.inference.tiling import Tiling
from segkit.model.folder import load_model
from segkit.model.network import ModelRecord
from segkit.registry.components import default_registry
from segkit.registry.expression import parse_list
from segkit.scoring.evaluation import Judge, Scores, evaluate

LESS_MEMORY = "Use a smaller --batch, --tile 512, or --precision bf16."


@dataclass(frozen=True)
class Request:
    """What to score.

    model      a run folder, a model folder or a hub id
    data       a folder; None is the data the run was trained on
    dataset    published set that it holds; None without data is the run's
    metric     None is the run's, and the overlap of every class
    batch      images at once, all processes together
    tiling     how images larger than a tile are cut; None scores them whole
    """

    model: str
    split: str = "val"
    data: Path | None = None
    dataset: str | None = None
    metric: str | None = None
    batch: int = 8
    device: str = "auto"
    precision: str = "auto"
    workers: int | None = None
    tiling: Tiling | None = None


@dataclass(frozen=True)
class Evaluation:
    """Scores and their conditions."""

    scores: Scores
    model: str
    data: str
    split: str
    classes: tuple[str, ...]
    ignore_index: int | None
    device: str
    precision: str


def score_model(
    request: Request, progress: Callable[[int, int], None] = lambda done, images: None
) -> Evaluation:
    """Loads the model and scores it; only the split named is scored.

    progress   called with (images scored, images) by the first process
    Raises ModelFileError (no model), DataError (images, masks, classes), UsageError (split).
    """
    with process_group(request.device) as group, device_errors(group.device, LESS_MEMORY):
        model = load_model(request.model, group.device)
        settings = _settings(Path(request.model))
        record = model.record
        root = request.data or (Path(settings.data) if settings.data else None)
        # A model folder remembers no data: without --data the demo set would be scored unasked.
        if request.data is None and not _is_run(Path(request.model)):
            raise UsageError(
                "SK-C009", f"{request.model} is no run folder.", "Say on which --data to score it."
            )
        data = _open(request, settings, record, root)
        dataset = data.split(request.split)
        workers = request.workers
        loader = EvaluationLoader(
            dataset,
            batch=max(1, request.batch // group.world_size),
            workers=default_workers(group.device, group.local_processes)
            if workers is None
            else workers,
            rank=group.rank,
            world_size=group.world_size,
        )
        judge = Judge(
            request.metric or _with_classes(settings.metric),
            num_classes=record.num_classes,
            ignore_index=data.ignore_index,
            group=group,
        )
        precision = choose_precision(request.precision, group.device)
        scores = evaluate(
            model,
            loader,
            judge,
            full_scale=data.full_scale,
            precision=precision,
            channels_last=settings.channels_last,
            tiling=request.tiling,
            progress=lambda done: progress(
                min(done * group.world_size, len(dataset)), len(dataset)
            ),
        )
        return Evaluation(
            scores,
            request.model,
            str(root) if root else "demo set",
            request.split,
            tuple(record.classes) or tuple(data.classes),
            data.ignore_index,
            describe(group.device),
            precision,
        )


def _open(request: Request, settings: TrainConfig, record: ModelRecord, root: Path | None) -> Data:
    """The data asked for; what the training was on where nothing is."""
    trained_on = settings.dataset if request.data is None else None
    if request.dataset or trained_on:
        return open_named(
            request.dataset or str(trained_on),
            root,
            in_channels=record.in_channels,
            num_classes=record.num_classes,
        )
    return open_data(
        root,
        ignore_index=record.ignore_index if record.ignore_index is not None else "auto",
        num_classes=record.num_classes,
        instances=settings.instances,
        binarize=settings.binarize,
        max_pixels=settings.max_pixels,
        in_channels=record.in_channels,
        val_share=settings.val_share,
        seed=settings.seed,
        on_bad_sample=settings.on_bad_sample,
    )


def _with_classes(metric: str) -> str:
    """The run's metrics, and the overlap of every class where a plugin offers it."""
    named = {each.name for each in parse_list(metric)}
    offered = {entry.name for entry in default_registry().index.of_kind("metrics")}
    return metric if "iou" in named or "iou" not in offered else f"{metric}, iou"


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").is_file()


def _settings(folder: Path) -> TrainConfig:
    """Those of the run, or the defaults for a model without one."""
    return read_config(folder / "config.yaml") if _is_run(folder) else TrainConfig()
