"""Scores a trained model, as its folder describes it, on a split of a data set."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from segkit.config import TrainConfig, read_config
from segkit.data.loader import EvaluationLoader
from segkit.data.opening.opened import Data
from segkit.data.options import PLAIN_OPTIONS, DataOptions
from segkit.device import choose_precision, default_workers, describe, device_errors
from segkit.distributed import Group, process_group
from segkit.errors import DataError, UsageError
from segkit.inference.onnx_network import OnnxNetwork, chosen, is_onnx, load_network
from segkit.inference.predictor import Predictor
from segkit.inference.separated import separates
from segkit.inference.tiling import Tiling
from segkit.model.network import SegmentationModel
from segkit.registry.components import default_registry
from segkit.registry.expression import parse_list
from segkit.registry.pins import as_pinned
from segkit.scoring.cases import cases
from segkit.scoring.cautions import cautions
from segkit.scoring.data_for_model import TrainedModel, data_for, refuse_images_of_members
from segkit.scoring.details import Details, Keeper
from segkit.scoring.evaluation import evaluate as evaluate_batches
from segkit.scoring.evaluator import Evaluator, Scores

OBJECT_METRICS = ("seg", "ap", "pq")
LESS_MEMORY = "Use a smaller --batch, --tile 512, or --precision bf16."


@dataclass(frozen=True)
class EvaluationSettings:
    """What to score, and how.

    model      a run folder, a model folder, a hub id, or an ONNX file that `segkit export` wrote
    split      which part of the data
    data       a folder; None is the data the run was trained on
    options    how the data are opened; what is left out is as the model's record has it
    metric     None is the run's, and the overlap of every class
    batch      images at once, all processes together
    device     auto, cpu, cuda, cuda:N or mps
    precision  auto, fp32, bf16 or fp16
    workers    processes that read images; None: as the device suggests
    tiling     how images larger than a tile are cut; None scores them whole
    details    whether to keep every image's scores, the certainty, and cases to look at: one
               process only, and where images are whole a second pass over each
    """

    model: str
    split: str = "val"
    data: Path | None = None
    options: DataOptions = PLAIN_OPTIONS
    metric: str | None = None
    batch: int = 8
    device: str = "auto"
    precision: str = "auto"
    workers: int | None = None
    tiling: Tiling | None = None
    details: bool = False


@dataclass(frozen=True)
class Evaluation:
    """Scores and their conditions.

    classes   names in label order
    notes     what was found in the data and decided, a sentence each
    cautions  what makes the scores say less than they seem to, a sentence each
    details   every image's scores and more, where they were asked for
    """

    scores: Scores
    model: str
    data: str
    split: str
    classes: tuple[str, ...]
    ignore_index: int | None
    device: str
    precision: str
    notes: tuple[str, ...] = ()
    details: Details | None = None
    cautions: tuple[str, ...] = ()


def evaluate(
    model: SegmentationModel | str | Path,
    data: str | Path | None = None,
    *,
    split: str = "val",
    metric: str | None = None,
    batch: int = 8,
    tile: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    options: DataOptions = PLAIN_OPTIONS,
) -> Evaluation:
    """Scores a model on a split of a data set, as `segkit evaluate` does.

    model     a run folder, a model folder, a hub id, or an ONNX file that `segkit export` wrote; or
              a loaded model; the last two need data
    data      a folder of images and masks; None: what the run was trained on
    metric    one or several, as "miou, dice"; None: the run's, and the overlap of every class
    tile      score larger images in tiles of so many pixels a side; None: images whole
    options   how the data are opened, where the model's record does not say it

        found = segkit.evaluate("runs/cells", "data/others", split="all")
        print(found.scores.values["miou"], found.scores.counts_KK)

    The others are as EvaluationSettings has them. Raises what `evaluate_model` raises.
    """
    network = model if isinstance(model, SegmentationModel) else None
    asked = EvaluationSettings(
        "the model given" if network is not None else str(model),
        split,
        None if data is None else Path(data).expanduser(),
        options,
        metric,
        batch,
        device,
        precision,
        workers,
        Tiling(tile, batch=batch) if tile else None,
    )
    return evaluate_model(asked, network=network)


def evaluate_model(
    asked: EvaluationSettings,
    progress: Callable[[int, int], None] = lambda done, images: None,
    *,
    network: SegmentationModel | None = None,
) -> Evaluation:
    """Loads the model and scores it; only the split named is scored.

    progress   called with (images scored, images) by the first process
    network    a model that is loaded already, put on the device and into evaluation mode
    Raises ModelFileError (no model), DataError (images, masks, classes), UsageError (split).
    """
    if is_onnx(file := network.file if isinstance(network, OnnxNetwork) else asked.model):
        chosen(file, asked.device, asked.precision)  # refuses what onnxruntime has not
        asked = replace(asked, device="cpu", precision="fp32")
    with process_group(asked.device) as group, device_errors(group.device, LESS_MEMORY):
        settings = None
        if network is None:
            network = load_network(asked.model, group.device)
            settings = run_settings(Path(asked.model))
        network = network.to(group.device)
        model = TrainedModel(asked.model, network.record, settings)
        refuse_images_of_members(model, asked.data, asked.split)
        data = data_for(model, asked.data, asked.options)
        return _scored(asked, model, network, data, group, progress)


def _scored(
    asked: EvaluationSettings,
    model: TrainedModel,
    network: SegmentationModel,
    data: Data,
    group: Group,
    progress: Callable[[int, int], None],
) -> Evaluation:
    settings, count = model.settings, len(data.split(asked.split))
    precision = choose_precision(asked.precision, group.device)
    predictor = Predictor(network, group.device, precision, asked.tiling)
    loader, labels, started = _loader(asked, data, group), model.record.label_count, time.time()
    keeper = None
    if asked.details:
        _refuse_several_processes(group)
        of_classes = isinstance(network, OnnxNetwork) and network.gives_labels
        sure = asked.tiling is None and labels > 1 and not of_classes
        keeper = Keeper(
            labels,
            data.ignore_index,
            takes_logits=sure,
            temperature=model.record.temperature,
        )
    scores = evaluate_batches(
        predictor,
        loader,
        Evaluator(
            asked.metric or _usual((settings or TrainConfig()).metric, separates(predictor)),
            num_classes=labels,
            ignore_index=data.ignore_index,
            group=group,
        ),
        full_scale=data.full_scale,
        keeper=keeper,
        progress=lambda done: progress(min(done * group.world_size, count), count),
    )
    _refuse_one_class_left(scores, data)
    details = None
    if keeper is not None:
        seconds, counts = time.time() - started, keeper.per_image.counts()
        shown = cases(counts, data.split(asked.split), loader.indices, data, predictor)
        sure_of = keeper.calibration, keeper.untempered
        details = Details(counts, *sure_of, tuple(shown), seconds)
    trained_on = settings.data if settings is not None else None
    return Evaluation(
        scores,
        asked.model,
        str(asked.data or trained_on or "demo set"),
        asked.split,
        tuple(data.classes),
        data.ignore_index,
        describe(group.device),
        precision,
        data.notes,
        details,
        tuple(cautions(asked.data, asked.split, data, model)),
    )


def _refuse_several_processes(group: Group) -> None:
    if group.world_size > 1:
        raise UsageError(
            "SK-C007",
            f"{group.world_size} processes share the images, and what is kept of each image is "
            "kept by one.",
            "Start it with one process, or leave --out out.",
        )


def _refuse_one_class_left(scores: Scores, data: Data) -> None:
    """Raises DataError SK-T004 where all that is not ignored is one class: any model is perfect."""
    truth_K = scores.counts_KK.sum(dim=1)
    left = truth_K.nonzero().flatten().tolist()
    if len(left) != 1 or not scores.ignored or len(truth_K) == 1:
        return
    raise DataError(
        "SK-T004",
        f"all {int(truth_K.sum()):,} pixels that count are of the class '{data.classes[left[0]]}', "
        f"and {scores.ignored:,} are ignored (label {data.ignore_index}): a score would say "
        "nothing.",
        f"If {data.ignore_index} is a class, count it: --ignore-index none, or `label_mapping` in "
        "data.yaml.",
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


def _usual(metric: str, objects: bool) -> str:
    """The run's metrics, those of objects where the model tells them apart, and the overlap of
    every class; each where a plugin offers it."""
    named = {each.name for each in parse_list(metric)}
    offered = {entry.name for entry in default_registry().index.of_kind("metrics")}
    wanted = (*(OBJECT_METRICS if objects else ()), "iou")
    return ", ".join([metric, *(each for each in wanted if each in offered and each not in named)])


def run_settings(folder: Path) -> TrainConfig | None:
    """Those of the run, by the plugins it was made with; None for a model without one."""
    file = folder / "config.yaml"
    if not file.is_file():
        return None
    return as_pinned(read_config(file), default_registry().index, ("dataset", "metric"))
