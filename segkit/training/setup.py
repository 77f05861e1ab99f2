"""Turns settings into the things a training works with, and says what was decided on the way."""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from segkit.config import TrainConfig
from segkit.data.loader import TrainingLoader
from segkit.data.opening.open import open_data
from segkit.data.opening.opened import Data
from segkit.data.options import options_of
from segkit.device import (
    choose_precision,
    default_workers,
    describe,
    make_deterministic,
)
from segkit.distributed import Group
from segkit.errors import DataError, UsageError
from segkit.model.activation_checkpointing import able_to_checkpoint, checkpoint_activations
from segkit.model.compose import build_loss, build_model
from segkit.model.network import SegmentationModel
from segkit.registry.components import default_registry
from segkit.registry.expression import parse_list, parse_sum
from segkit.scoring.evaluator import Evaluator
from segkit.training.compiling import refuse_to_compile
from segkit.training.events import Events
from segkit.training.freezing import named_parts
from segkit.training.state import seed_everything

DEMO_EPOCHS = 12
USUAL_STEPS = 1500
EVALUATIONS, SHOWN = 50, 5


@dataclass(frozen=True)
class Prepared:
    """All that a training works with.

    config        with everything left to segkit now decided
    model         on the device, nothing frozen yet
    """

    config: TrainConfig
    group: Group
    data: Data
    model: SegmentationModel
    loss: nn.Module
    loader: TrainingLoader
    evaluator: Evaluator

    @property
    def epochs(self) -> int:
        return self.config.epochs or 0

    @property
    def total_steps(self) -> int:
        return self.epochs * self.loader.batches_per_epoch

    def is_due(self, number: int) -> bool:
        """Whether epoch `number`, from 1, ends with an evaluation and a checkpoint."""
        return number == self.epochs or number % (self.config.evaluate_every or 1) == 0

    def shows_samples(self, number: int) -> bool:
        return number == self.epochs or number % (self.config.samples_every or 1) == 0

    @property
    def evaluates(self) -> bool:
        return "val" in self.data.splits


def prepare(
    config: TrainConfig,
    group: Group,
    events: Events,
    *,
    weights: Mapping[str, str] | None = None,
) -> Prepared:
    """Opens the data and builds network, loss and metrics; nothing is written yet.

    weights   of a run that continues: what its encoder once started from; nothing is fetched
    Raises every error that can be known before the first step.
    """
    if config.deterministic:
        make_deterministic()
    refuse_to_compile(config.compile, group.device)
    _refuse_unknown_names(config)
    data = _open(config)
    config = _resolved(config, data, group)
    classes, size = len(data.classes), config.size or data.default_size
    loader = TrainingLoader(
        data.split("train"),
        size=size,
        batch=config.batch,
        seed=config.seed,
        augmentation=config.augmentation,
        crops=config.crops,
        ignore_index=data.ignore_index,
        workers=int(config.workers),
        rank=group.rank,
        world_size=group.world_size,
    )
    loss = build_loss(config.loss, num_classes=classes, ignore_index=loader.ignore_index)
    evaluator = Evaluator(
        config.metric, num_classes=classes, ignore_index=data.ignore_index, group=group
    )
    model = _build(config, data, group, events, weights)
    # So that a repeated run starts where this one did, whatever the network then says.
    config = config.model_copy(update={"weights": model.record.weights["used"]})
    # Each process draws its own dropout.
    seed_everything(config.seed + group.rank)
    refuse_single_values(model, data.in_channels, size, config.batch // group.world_size)
    if config.freeze:
        named_parts(model, config.freeze)  # an unknown part is refused here and now
    return Prepared(config, group, data, model, loss.to(group.device), loader, evaluator)


def decisions(prepared: Prepared) -> list[tuple[str, str]]:
    """What the training will do, as (subject, sentence)."""
    config, data, model = prepared.config, prepared.data, prepared.model
    millions = sum(each.numel() for each in model.parameters()) / 1e6
    processes = f", {prepared.group.world_size} processes" if prepared.group.world_size > 1 else ""
    lines = [("data", note) for note in data.notes]
    lines += [
        ("classes", f"{len(data.classes)}: {', '.join(data.classes)}"),
        (
            "model",
            f"{config.encoder} + {config.decoder} + {config.upsampler}, "
            f"{millions:.1f} M parameters",
        ),
        ("weights", _weights_sentence(model)),
        ("loss", f"{config.loss}; scored by {config.metric}"),
        ("device", f"{describe(prepared.group.device)}, {config.precision}{processes}"),
        (
            "training",
            f"{config.epochs} epoch{'s' * (config.epochs != 1)} of "
            f"{prepared.loader.batches_per_epoch} steps, batch "
            f"{config.batch}, crops of {config.size} x {config.size}, {config.augmentation} "
            f"augmentation, learning rate {config.lr:g}",
        ),
    ]
    if config.compile != "no":
        lines.append(("compiled", "the first step takes minutes"))
    if config.checkpoint_activations:
        able = " and ".join(able_to_checkpoint(model))
        lines.append(("memory", f"activations of the {able} are computed twice"))
    if config.freeze:
        until = f" until epoch {config.thaw_epoch}" if config.thaw_epoch else ""
        lines.append(("frozen", f"{config.freeze}{until}"))
    return lines


def refuse_single_values(model: nn.Module, channels: int, size: int, batch: int) -> None:
    """Raises DataError SK-T003 where batch norm would see one value per channel, before any step.

    Tried on a copy without memory: with one image per process a deep map may be 1 x 1.
    """
    if batch > 1:
        return
    trial = copy.deepcopy(model).to("meta").train()
    try:
        trial(torch.empty(batch, channels, size, size, device="meta"))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            return
        raise DataError(
            "SK-T003",
            f"a batch of 1 with crops of {size} x {size} pixels leaves batch normalisation one "
            "value per channel at the network's deepest map, which it cannot train on.",
            "Use --batch 2 or more, or a larger --size, or parts without batch normalisation.",
        ) from error
    # Some operations have no counterpart without memory: those networks go untried.
    except (NotImplementedError, RuntimeError):
        return


def _refuse_unknown_names(config: TrainConfig) -> None:
    """Before the data are read, which may take minutes, and the hub is asked for weights."""
    registry = default_registry()
    if config.dataset:
        registry.component("datasets", config.dataset)
    registry.component("encoders", config.encoder)
    registry.component("decoders", config.decoder)
    registry.component("upsamplers", config.upsampler)
    for term in parse_sum(config.loss):
        registry.component("losses", term.component)
    for metric in parse_list(config.metric):
        registry.component("metrics", metric)


def _open(config: TrainConfig) -> Data:
    root = Path(config.data).expanduser() if config.data else None
    data = open_data(root, options_of(config))
    if "train" not in data.splits or not len(data.split("train")):
        raise DataError(
            "SK-T004",
            f"{config.data} holds no training images; its splits are {', '.join(data.splits)}.",
            "Name one of them train.",
        )
    return data


def _resolved(config: TrainConfig, data: Data, group: Group) -> TrainConfig:
    if config.batch % group.world_size:
        raise UsageError(
            "SK-C009",
            f"a batch of {config.batch} cannot be shared by {group.world_size} processes.",
            f"Use a multiple of {group.world_size}.",
        )
    if config.thaw_epoch and not config.freeze:
        raise UsageError(
            "SK-C009",
            f"thaw_epoch is {config.thaw_epoch}, and nothing is frozen.",
            "Name what with --freeze.",
        )
    weights, workers = config.weights, config.workers
    if weights not in ("auto", "imagenet", "none"):
        weights = str(Path(weights).expanduser().resolve())
    if workers == "auto":
        workers = default_workers(group.device, group.local_processes)
    return config.model_copy(
        update={
            "data": str(Path(config.data).expanduser().resolve()) if config.data else None,
            **length_of_training(config, data),
            "size": config.size or data.default_size,
            "in_channels": data.in_channels,
            "ignore_index": data.ignore_index,
            "precision": choose_precision(config.precision, group.device),
            "weights": weights,
            "workers": workers,
        }
    )


def length_of_training(config: TrainConfig, data: Data) -> dict[str, int | str]:
    """How long a training is, and what hangs on it."""
    demo = config.data is None
    steps = max(1, len(data.split("train")) // config.batch)
    usual = DEMO_EPOCHS if demo else min(max(math.ceil(USUAL_STEPS / steps), 10), 300)
    epochs = config.epochs or usual
    mild = "light" if demo else "standard"
    return {
        "epochs": epochs,
        "evaluate_every": config.evaluate_every or max(1, epochs // EVALUATIONS),
        "samples_every": config.samples_every or max(1, epochs // SHOWN),
        "augmentation": mild if config.augmentation == "auto" else config.augmentation,
    }


def _build(
    config: TrainConfig,
    data: Data,
    group: Group,
    events: Events,
    started_from: Mapping[str, str] | None,
) -> SegmentationModel:
    with group.first(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = _seeded(config, data, "none" if started_from else config.weights)
    for each in caught:
        if issubclass(each.category, UserWarning) and group.writes:
            events.warned(str(each.message))
    start = started_from or model.record.weights
    if start["used"] == "none" and config.weights == "auto":
        # The attempt drew random numbers; a repetition with --weights none makes no attempt.
        model = _seeded(config, data, "none")
    model.record = replace(model.record, weights=dict(start))
    if config.checkpoint_activations:
        checkpoint_activations(model)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    group.synchronise_norms_(model)
    return model.to(group.device).to(memory_format=layout)


def _seeded(config: TrainConfig, data: Data, weights: str) -> SegmentationModel:
    seed_everything(config.seed)
    return build_model(
        config.encoder,
        config.decoder,
        config.upsampler,
        num_classes=len(data.classes),
        in_channels=data.in_channels,
        weights=weights,
    )


def _weights_sentence(model: SegmentationModel) -> str:
    start = model.record.weights
    if start["used"] != "none":
        return f"encoder from {start['used']}"
    reason = start.get("reason", "").splitlines()
    return f"RANDOM ({reason[0].rstrip('.')})" if reason else "random"


def run_name(config: TrainConfig) -> str:
    """A folder's name for a run without --out: data and encoder."""
    data = Path(config.data).name if config.data else "demo"
    encoder = config.encoder.partition("(")[0].replace("/", "-").replace(":", "-")
    return os.path.join("runs", f"{data}-{encoder}")  # noqa: PTH118 - a name, not a place yet
