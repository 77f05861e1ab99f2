"""Scores a trained model, as its folder describes it, on a split of a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from segkit.config import TrainConfig, read_config
from segkit.data.intensity import recorded
from segkit.data.loader import EvaluationLoader
from segkit.data.opening.open import open_data
from segkit.data.opening.opened import Data
from segkit.data.options import DataOptions, options_of
from segkit.device import choose_precision, default_workers, describe, device_errors
from segkit.distributed import Group, process_group
from segkit.errors import UsageError
from segkit.inference.predictor import Predictor
from segkit.inference.tiling import Tiling
from segkit.model.folder import load_model
from segkit.model.network import ModelRecord
from segkit.registry.components import default_registry
from segkit.registry.expression import parse_list
from segkit.scoring.evaluation import evaluate
from segkit.scoring.evaluator import Evaluator, Scores

LESS_MEMORY = "Use a smaller --batch, --tile 512, or --precision bf16."


@dataclass(frozen=True)
class EvaluationSettings:
    """What to score, and how.

    model      a run folder, a model folder or a hub id
    split      which part of the data
    data       a folder; None is the data the run was trained on
    dataset    published set that it holds; None without data is the run's
    metric     None is the run's, and the overlap of every class
    batch      images at once, all processes together
    device     auto, cpu, cuda, cuda:N or mps
    precision  auto, fp32, bf16 or fp16
    workers    processes that read images; None: as the device suggests
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
    """Scores and their conditions.

    classes   names in label order
    """

    scores: Scores
    model: str
    data: str
    split: str
    classes: tuple[str, ...]
    ignore_index: int | None
    device: str
    precision: str


def evaluate_model(
    asked: EvaluationSettings, progress: Callable[[int, int], None] = lambda done, images: None
) -> Evaluation:
    """Loads the model and scores it; only the split named is scored.

    progress   called with (images scored, images) by the first process
    Raises ModelFileError (no model), DataError (images, masks, classes), UsageError (split).
    """
    with process_group(asked.device) as group, device_errors(group.device, LESS_MEMORY):
        model = load_model(asked.model, group.device)
        trained, record = _trained_with(Path(asked.model)), model.record
        root = _root(asked, trained)
        data = _open(asked, trained, record, root)
        count = len(data.split(asked.split))
        precision = choose_precision(asked.precision, group.device)
        scores = evaluate(
            Predictor(model, group.device, precision, asked.tiling, full_scale=data.full_scale),
            _loader(asked, data, group),
            Evaluator(
                asked.metric or _with_classes(trained.metric),
                num_classes=record.num_classes,
                ignore_index=data.ignore_index,
                group=group,
            ),
            progress=lambda done: progress(min(done * group.world_size, count), count),
        )
        return Evaluation(
            scores,
            asked.model,
            str(root) if root else "demo set",
            asked.split,
            tuple(record.classes) or tuple(data.classes),
            data.ignore_index,
            describe(group.device),
            precision,
        )


def _loader(asked: EvaluationSettings, data: Data, group: Group) -> EvaluationLoader:
    workers = asked.workers
    if workers is None:
        workers = default_workers(group.device, group.local_processes)
    return EvaluationLoader(
        data.split(asked.split),
        batch=max(1, asked.batch // group.world_size),
        workers=workers,
        rank=group.rank,
        world_size=group.world_size,
    )


def _root(asked: EvaluationSettings, trained: TrainConfig) -> Path | None:
    """Where the data lie; None: the demo set."""
    if asked.data is not None:
        return asked.data
    # A model folder remembers no data: without --data the demo set would be scored unasked.
    if not _is_run(Path(asked.model)):
        raise UsageError(
            "SK-C009", f"{asked.model} is no run folder.", "Say on which --data to score it."
        )
    return Path(trained.data) if trained.data else None


def _open(
    asked: EvaluationSettings, trained: TrainConfig, record: ModelRecord, root: Path | None
) -> Data:
    """The data asked for; what the training was on where nothing is."""
    named = asked.dataset or (trained.dataset if asked.data is None else None)
    ignored = None if named else record.ignore_index
    options = replace(
        DataOptions(dataset=named) if named else options_of(trained),
        ignore_index="auto" if ignored is None else ignored,
        num_classes=record.num_classes,
        in_channels=record.in_channels,
        intensity=recorded(record.training),
        cache="off",
    )
    return open_data(root, options)


def _with_classes(metric: str) -> str:
    """The run's metrics, and the overlap of every class where a plugin offers it."""
    named = {each.name for each in parse_list(metric)}
    offered = {entry.name for entry in default_registry().index.of_kind("metrics")}
    return metric if "iou" in named or "iou" not in offered else f"{metric}, iou"


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").is_file()


def _trained_with(folder: Path) -> TrainConfig:
    """The settings of the run, or the defaults for a model without one."""
    return read_config(folder / "config.yaml") if _is_run(folder) else TrainConfig()
