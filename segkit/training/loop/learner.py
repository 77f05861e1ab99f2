"""A training step: forward, loss, backward, optimizer, average."""

from __future__ import annotations

import gc
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from segkit.data.batches import Batch
from segkit.device import autocast, on_device
from segkit.model.activation_checkpointing import statistics_kept
from segkit.model.loss_sum import loss_of, output_for, takes_instances
from segkit.scoring.evaluation import refuse_labels_out_of_range
from segkit.training.checkpoint.state import (
    load_tensors,
    optimizer_tensors,
    random_tensors,
    restore_optimizer,
    restore_random,
)
from segkit.training.optimization.cached_features import (
    CachedFeatures,
    features_recur,
    memory_for_features,
)
from segkit.training.optimization.compiling import compiled
from segkit.training.optimization.ema import WeightAverage
from segkit.training.optimization.freezing import freeze, thaw
from segkit.training.optimization.norm_statistics import YoungNorms
from segkit.training.preparation.setup import Setup

# By group ("model", "average", "optimizer", "random", ...), then by name.
Tensors = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Outcome:
    """A step just taken, whose loss the device may still be working out.

    loss, norm   scalars on the device: the loss, and the gradient's norm before clipping
    """

    batch: Batch
    loss: Tensor
    norm: Tensor
    learning_rate: float


class Learner:
    """Network, loss, optimizer and averaged model of a training under way.

    average   the averaged model, which is scored and saved

    Made with the `epoch`, from 0, that the next step belongs to, since it decides what is frozen,
    and with the `tensors` of a checkpoint to continue from, where there is one.
    """

    def __init__(self, setup: Setup, epoch: int = 0, tensors: Tensors | None = None) -> None:
        self.setup, self.config, self.group = setup, setup.config, setup.group
        self.model, self.loss = setup.model, setup.loss
        self.frozen = bool(self.config.freeze) and not self._thaws_by(epoch)
        if self.frozen:
            freeze(self.model, str(self.config.freeze))
        self.cached: CachedFeatures | None = None
        if self.frozen and features_recur(self.config):
            limit = memory_for_features(self.group.device) // self.group.world_size
            self.cached = CachedFeatures(self.model.encoder, limit)
        self.parallel = self._parallel()
        self.average = WeightAverage(self.model, self.config.ema_decay)
        config = self.config
        self.optimizer = make_optimizer(
            self.model, config.lr, config.weight_decay, config.optimizer, config.encoder_lr_factor
        )
        self.scaler = torch.amp.GradScaler(
            self.group.device.type, enabled=self.config.precision == "fp16"
        )
        if tensors is not None:
            self._restore(tensors)
        self.young_norms = YoungNorms(self.model)

    def start_epoch(self, epoch: int) -> None:
        """Puts the network into training, and thaws what is frozen where its epoch has come."""
        if self.frozen and self._thaws_by(epoch):
            thaw(self.model)
            self.frozen, self.cached = False, None
            # The old wrapper's hooks go with it, and they must go before the new one's come.
            self.parallel = self.model
            gc.collect()
            self.parallel = self._parallel()
        self.parallel.train()

    def step(self, batch: Batch, number: int) -> Outcome:
        """Takes step `number`, from 0, of the training; its loss is not waited for."""
        classes, ignore_index = len(self.setup.data.classes), self.setup.loader.ignore_index
        refuse_labels_out_of_range(batch, classes, ignore_index, "a crop of ")
        rate = self._set_learning_rate(number)
        self.optimizer.zero_grad(set_to_none=True)
        with self.young_norms.corrected():
            loss = self._backward(batch)
        self.scaler.unscale_(self.optimizer)
        norm = clip_grad_norm_(self.model.parameters(), self.config.clip_norm or math.inf)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update(number)
        return Outcome(batch, loss, norm, rate)

    def checkpoint_tensors(self) -> Tensors:
        """All tensors to continue from; every process must ask, since all contribute."""
        tensors: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "optimizer": optimizer_tensors(self.optimizer, self.model),
            "random": random_tensors(self.group),
        }
        if self.config.ema_decay:  # else it is the model itself
            tensors["average"] = self.average.model.state_dict()
        if own := self.loss.state_dict():
            tensors["loss"] = own
        return tensors

    def name_of_infinite(self) -> str:
        """A tensor of the model or of its average that holds an infinity or NaN, or nothing."""
        for model, of in ((self.model, ""), (self.average.model, "the average's ")):
            state = model.state_dict()
            floating = {
                name: each
                for name, each in state.items()
                if each.is_floating_point() and each.numel()
            }
            # The largest value of each tensor, and one answer to wait for.
            norms = torch._foreach_norm([each.float() for each in floating.values()], math.inf)
            finite = torch.stack(norms).isfinite().tolist()
            broken = [name for name, good in zip(floating, finite, strict=True) if not good]
            if broken:
                return f"{of}{broken[0]}"
        return ""

    def _backward(self, batch: Batch) -> Tensor:
        """The batch's loss, whose gradient is left with the parameters; part by part."""
        parts = batch.parts(self.config.accumulate)
        losses = []
        for number, part in enumerate(parts, 1):
            # Processes share their gradients once, with the last part's.
            with nullcontext() if number == len(parts) else self._unshared_gradients():
                loss = self._loss(part) / len(parts)
                with self._batches_counted_once():
                    self.scaler.scale(loss).backward()
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _unshared_gradients(self) -> AbstractContextManager[None]:
        if self.group.world_size == 1:
            return nullcontext()
        parallel: Any = self.parallel
        unshared: AbstractContextManager[None] = parallel.no_sync()
        return unshared

    def _loss(self, batch: Batch) -> Tensor:
        device, instances_BHW = self.group.device, batch.instances_BHW
        image_BCHW = on_device(batch.image_BCHW, device, self.config.channels_last)
        target_BHW = batch.target_BHW.to(device, non_blocking=True)
        with autocast(device, self.config.precision):
            pixels_BCHW = self.model.normalize(image_BCHW, self.setup.data.full_scale)
            with self.cached.answering_for(self.model) if self.cached else nullcontext():
                output: Any = output_for(self.loss, self.parallel, pixels_BCHW)
        if instances_BHW is not None and takes_instances(self.loss):
            instances_BHW = instances_BHW.to(device, non_blocking=True)
        return loss_of(self.loss, output, target_BHW, instances_BHW)

    def _set_learning_rate(self, number: int) -> float:
        rate = self.config.lr * self.setup.schedule.share(number)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate * parameters["factor"]
        return rate

    def _parallel(self) -> nn.Module:
        """The model as a step calls it: over all processes, compiled where that is asked for."""
        learning = {name for name, each in self.model.named_parameters() if each.requires_grad}
        unused = not learning.isdisjoint(self.setup.unused)
        return compiled(self.group.parallel(self.model, unused=unused), self.config.compile)

    def _batches_counted_once(self) -> AbstractContextManager[None]:
        return statistics_kept(self.model) if self.config.checkpoint_activations else nullcontext()

    def _restore(self, tensors: Tensors) -> None:
        load_tensors(self.model, tensors["model"], "model")
        average = tensors.get("average", tensors["model"])
        load_tensors(self.average.model, average, "averaged model")
        load_tensors(self.loss, tensors.get("loss", {}), "loss")
        restore_optimizer(self.optimizer, self.model, tensors["optimizer"])
        restore_random(self.group, tensors["random"])

    def _thaws_by(self, epoch: int) -> bool:
        return self.config.thaw_epoch is not None and epoch + 1 >= self.config.thaw_epoch


def make_optimizer(
    model: nn.Module,
    lr: float,
    weight_decay: float,
    kind: str = "adamw",
    encoder_factor: float = 1.0,
) -> torch.optim.Optimizer:
    """The optimizer of that kind; norms and biases are not decayed.

    adamw   Loshchilov and Hutter 2019 (arXiv:1711.05101)
    sgd     momentum of 0.9 as Sutskever et al. 2013 have Nesterov's
    encoder_factor   of the learning rate of `model.encoder`
    """
    parts: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        factor = encoder_factor if name.startswith("encoder.") else 1.0
        parts.setdefault((factor, parameter.ndim > 1), []).append(parameter)
    groups = [
        {
            "params": parts[factor, decays],
            "weight_decay": weight_decay if decays else 0.0,
            "factor": factor,
            "lr": lr * factor,
        }
        # The first group's rate is the one that is told: that of the rest of the network.
        for factor, decays in sorted(parts, key=lambda key: (key[0] != 1.0, not key[1]))
    ]
    fused = next(model.parameters()).device.type in ("cuda", "cpu")
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True, fused=fused)
    return torch.optim.AdamW(groups, lr=lr, fused=fused)
