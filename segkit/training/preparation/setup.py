"""Turns settings into the things that a training works with: data, network, loss and metrics."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from segkit.config import TrainConfig
from segkit.data.loader import TrainingLoader
from segkit.data.opening.opened import Data
from segkit.device import make_deterministic
from segkit.distributed import Group
from segkit.errors import DataError
from segkit.model.activation_checkpointing import checkpoint_activations
from segkit.model.compose import build_loss, build_model
from segkit.model.network import SegmentationModel
from segkit.recipes.deciding import Decision, Recipe
from segkit.registry.components import default_registry
from segkit.registry.expression import parse_list, parse_sum
from segkit.registry.pins import as_pinned, other_versions, plugins_of
from segkit.scoring.evaluator import Evaluator
from segkit.separation.named import build_separation
from segkit.separation.training import SeparatingLoss
from segkit.training.checkpoint.state import seed_everything
from segkit.training.monitoring.events import Events, Silence
from segkit.training.optimization.compiling import refuse_to_compile
from segkit.training.optimization.freezing import named_parts
from segkit.training.optimization.schedule import Plan, Schedule, written_plans
from segkit.training.preparation.decisions import (
    Length,
    decided,
    length_of_training,
    mirrors_of,
)
from segkit.training.preparation.opening import with_recipe
from segkit.training.preparation.separating import with_object_metrics, with_separation
from segkit.training.preparation.unused import without_gradient


@dataclass(frozen=True)
class Setup:
    """All that a training works with.

    config     with everything that was left to segkit now decided
    model      on the device, nothing frozen yet
    length     how long it is, and why
    recipe     that decided it; None where nothing was left to decide
    decisions  of the recipe, each with its reason
    unused     names of parameters without a gradient; looked for where processes are several
    """

    config: TrainConfig
    group: Group
    data: Data
    model: SegmentationModel
    loss: nn.Module
    loader: TrainingLoader
    evaluator: Evaluator
    length: Length
    recipe: Recipe | None = None
    decisions: tuple[Decision, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def epochs(self) -> int:
        return self.length.epochs

    @property
    def total_steps(self) -> int:
        return self.epochs * self.loader.batches_per_epoch

    @property
    def schedule(self) -> Schedule:
        """Of the learning rate, as long as the training now is."""
        steps = self.loader.batches_per_epoch
        earlier = [Plan(steps * each.total, steps * each.until) for each in self.length.earlier]
        config = self.config
        return Schedule(self.total_steps, config.warmup_share, config.schedule, earlier)

    @property
    def written_config(self) -> TrainConfig:
        """The settings that repeat the training as long as it now is."""
        plans = written_plans(self.length.earlier)
        changes = {"epochs": self.epochs, "earlier_plans": plans}
        return self.config.model_copy(update=changes)

    @property
    def batch_per_process(self) -> int:
        """Images of a step that this process computes."""
        return self.group.share_of(int(self.config.batch))

    @property
    def evaluates(self) -> bool:
        return "val" in self.data.splits

    def is_due(self, number: int) -> bool:
        """Whether epoch `number`, from 1, ends with an evaluation and a checkpoint."""
        return number == self.epochs or number % (self.config.evaluate_every or 1) == 0

    def shows_samples(self, number: int) -> bool:
        """Whether pictures are made after epoch `number`, from 1."""
        return number == self.epochs or number % (self.config.samples_every or 1) == 0


def set_up(
    config: TrainConfig,
    group: Group,
    events: Events,
    *,
    weights: Mapping[str, str] | None = None,
) -> Setup:
    """Opens the data and builds network, loss and metrics; nothing is written yet.

    weights   of a run that continues: what its encoder once started from; nothing is fetched
    Raises every error that can be known before the first step.
    """
    if config.deterministic:
        make_deterministic()
    refuse_to_compile(config.compile, group.device)
    index = default_registry().index
    config = with_object_metrics(config, index)
    named = as_pinned(config, index)
    if group.writes:
        for note in other_versions(config):
            events.warned(note)
    refuse_unknown_names(named)
    config, data, recipe, decisions = with_recipe(config, named, group)
    named = as_pinned(config, index)
    length = length_of_training(config, data)
    config = with_separation(decided(config, data, group), data)
    loader = loader_of(config, data, group)
    classes = len(data.classes)
    loss = _loss(named, classes, loader.ignore_index)
    evaluator = Evaluator(
        named.metric, num_classes=classes, ignore_index=data.ignore_index, group=group
    )
    model = _build(as_pinned(config, index), data, group, events, weights)
    # So that a repeated run starts where this one did, whatever the network then says, and with
    # the same plugins, whatever is installed then.
    written = {"weights": model.record.weights["used"], "plugins": plugins_of(named, index)}
    config = config.model_copy(update=written)
    # Each process draws its own dropout.
    seed_everything(config.seed + group.rank)
    setup = Setup(
        config,
        group,
        data,
        model,
        loss.to(group.device),
        loader,
        evaluator,
        length,
        recipe,
        decisions,
    )
    at_once = setup.batch_per_process // config.accumulate
    refuse_single_values(model, data.in_channels, int(config.size or 0), at_once)
    if config.freeze:
        named_parts(model, config.freeze)  # an unknown part is refused here and now
    return _looked_through(setup)


def _looked_through(setup: Setup) -> Setup:
    """With the parameters that get no gradient, where several processes would wait for them."""
    if setup.group.world_size == 1:
        return setup
    unused = without_gradient(setup.model, setup.loss, setup.data, setup.config, setup.group)
    return replace(setup, unused=unused)


def changed(setup: Setup, changes: Mapping[str, Any]) -> Setup:
    """The setup as other settings of crops or of the network would have made it."""
    group, data = setup.group, setup.data
    config = setup.config.model_copy(update=changes)
    named = as_pinned(config, default_registry().index)
    model = _build(named, data, group, Silence(), None)
    config = config.model_copy(update={"weights": model.record.weights["used"]})
    seed_everything(config.seed + group.rank)
    return replace(setup, config=config, model=model, loader=loader_of(config, data, group))


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


def loader_of(config: TrainConfig, data: Data, group: Group) -> TrainingLoader:
    """The training batches that the settings ask for; what they left open must be decided."""
    return TrainingLoader(
        data.split("train"),
        size=int(config.size or 0),
        batch=int(config.batch),
        seed=config.seed,
        augmentation=config.augmentation,
        crops=config.crops,
        ignore_index=data.ignore_index,
        workers=int(config.workers),
        rank=group.rank,
        world_size=group.world_size,
        steps=config.epoch_steps,
    )


def refuse_unknown_names(config: TrainConfig) -> None:
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


def _loss(config: TrainConfig, classes: int, ignore_index: int | None) -> nn.Module:
    loss = build_loss(config.loss, num_classes=classes, ignore_index=ignore_index)
    if not config.separate:
        return loss
    return SeparatingLoss(loss, classes, build_separation(config.separate), ignore_index)


def _build(
    config: TrainConfig,
    data: Data,
    group: Group,
    events: Events,
    started_from: Mapping[str, str] | None,
) -> SegmentationModel:
    with group.first(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        seed_everything(config.seed)
        model = build_model(
            config.encoder,
            config.decoder,
            config.upsampler,
            num_classes=len(data.classes),
            in_channels=data.in_channels,
            weights="none" if started_from else config.weights,
            separation=config.separate or "",
            maps=build_separation(config.separate).maps if config.separate else 0,
        )
    for each in caught:
        if issubclass(each.category, UserWarning) and group.writes:
            events.warned(str(each.message))
    start = started_from or model.record.weights
    model.record = replace(
        model.record,
        weights=dict(start),
        background=data.background,
        mirrors=mirrors_of(config),
    )
    if config.checkpoint_activations:
        checkpoint_activations(model)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    if group.shares_norms(config.sync_norms):
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model.to(group.device).to(memory_format=layout)
