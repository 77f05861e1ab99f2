"""The training loop: batches in, a better model out, and at any moment exactly continuable."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from segkit.data.batches import Batch
from segkit.data.loader import EvaluationLoader
from segkit.device import autocast, memory_in_use
from segkit.errors import Diverged
from segkit.inference.predictor import Predictor
from segkit.model.activation_checkpointing import statistics_kept
from segkit.scoring.evaluation import evaluate, move, refuse_labels_out_of_range
from segkit.scoring.evaluator import Scores
from segkit.training.checkpoints import Checkpoint
from segkit.training.compiling import compiled
from segkit.training.ema import WeightAverage
from segkit.training.events import EpochReport, Events, StepReport
from segkit.training.freezing import freeze, thaw
from segkit.training.objective import loss_of, output_for
from segkit.training.schedule import learning_rate_share
from segkit.training.setup import Prepared
from segkit.training.state import (
    load_tensors,
    optimizer_tensors,
    random_tensors,
    restore_optimizer,
    restore_random,
)

SKIPS_IN_A_ROW = 50


@dataclass
class Position:
    """How far a training is: all of its memory beside tensors.

    epoch, batch   the next to be done, from 0
    step           steps done in all
    loss_sum       over the steps of this epoch so far
    best           the best value of the deciding score so far; None before the first
    waited         evaluations since then
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best: float | None = None
    best_epoch: int | None = None
    best_scores: dict[str, float | None] = field(default_factory=dict)
    waited: int = 0


@dataclass(frozen=True)
class Pending:
    """A step whose loss the device may still be working out."""

    batch: Batch
    loss: Tensor
    norm: Tensor
    learning_rate: float


class DivergedBatch(Diverged):
    """Diverged, with the batch that did it."""

    batch: Batch


class Loop:
    """A training under way.

    position   where it is
    average    the averaged model, which is scored and saved
    """

    def __init__(
        self, prepared: Prepared, events: Events, checkpoint: Checkpoint | None = None
    ) -> None:
        self.prepared, self.events = prepared, events
        self.config, self.group = prepared.config, prepared.group
        self.model, self.loss = prepared.model, prepared.loss
        self.position = Position(**checkpoint.state["position"]) if checkpoint else Position()
        self.frozen = bool(self.config.freeze) and not self._thaws_by(self.position.epoch)
        if self.frozen:
            freeze(self.model, str(self.config.freeze))
        self.parallel = self._parallel()
        self.average = WeightAverage(self.model, self.config.ema_decay)
        self.optimizer = make_optimizer(self.model, self.config.lr, self.config.weight_decay)
        self.scaler = torch.amp.GradScaler(
            self.group.device.type, enabled=self.config.precision == "fp16"
        )
        self.pending: Pending | None = None
        self.skipped = 0
        self.clock = Clock(prepared)
        if checkpoint:
            self._restore(checkpoint)

    def train_epoch(self, after_step: Callable[[], None]) -> None:
        """Trains to the end of the epoch; `after_step()` is called at every continuable moment."""
        position = self.position
        if self.frozen and self._thaws_by(position.epoch):
            thaw(self.model)
            self.frozen = False
            # The old wrapper's hooks go with it, and they must go before the new one's come.
            self.parallel = self.model
            gc.collect()
            self.parallel = self._parallel()
        self.parallel.train()
        self.clock.start_epoch()
        batches = self.prepared.loader.epoch(position.epoch, start=position.batch)
        for batch in self.clock.timed(batches):
            self.step(batch)
            position.batch += 1
            position.step += 1
            after_step()
        self.settle()

    def next_epoch(self) -> None:
        """Moves on to the next epoch's first batch."""
        self.position.epoch += 1
        self.position.batch = 0
        self.position.loss_sum = 0.0

    def evaluate(self) -> Scores:
        """Scores the averaged model on the validation images, over all processes."""
        data, config = self.prepared.data, self.config
        started = time.perf_counter()
        self.group.share_(self.average.model)
        dataset = data.split("val")
        loader = EvaluationLoader(
            dataset,
            batch=max(1, config.batch // self.group.world_size),
            workers=int(config.workers),
            rank=self.group.rank,
            world_size=self.group.world_size,
        )
        scores = evaluate(
            Predictor(
                self.average.model,
                self.group.device,
                config.precision,
                full_scale=data.full_scale,
                channels_last=config.channels_last,
            ),
            loader,
            self.prepared.evaluator,
            progress=lambda done: self._tell_evaluating(done, len(dataset)),
        )
        self.clock.evaluation_seconds = time.perf_counter() - started
        return scores

    def report(self, scores: Scores | None, *, is_best: bool) -> EpochReport:
        """What the epoch just done amounts to."""
        position, group = self.position, self.group
        mean = torch.tensor(
            [position.loss_sum],
            dtype=torch.float64,
        )
        group.sum_(mean)
        return EpochReport(
            epoch=position.epoch + 1,
            epochs=self.prepared.epochs,
            step=position.step,
            loss=float(mean) / group.world_size / max(position.batch, 1),
            learning_rate=self.optimizer.param_groups[0]["lr"],
            images_per_second=self.clock.images_per_second,
            seconds=self.clock.seconds_of_epoch,
            data_share=self.clock.data_share,
            memory=memory_in_use(group.device),
            scores=scores.values if scores else {},
            conventions=scores.conventions if scores else {},
            score_name=scores.first if scores else "",
            is_best=is_best,
        )

    def note_score(self, scores: Scores) -> bool:
        """Whether these scores are the best so far; remembers them if so."""
        position = self.position
        value = scores.values[scores.first]
        sign = 1 if scores.higher_is_better else -1
        first = position.best_epoch is None
        better = not math.isnan(value) and (
            position.best is None or sign * value > sign * position.best
        )
        if not (first or better):
            position.waited += 1
            return False
        position.best = None if math.isnan(value) else value
        position.best_epoch = position.epoch + 1
        position.best_scores = {
            name: None if math.isnan(each) else each for name, each in scores.values.items()
        }
        position.waited = 0
        return True

    def checkpoint(self) -> Checkpoint:
        """Everything needed to continue exactly; every process must ask, since all contribute."""
        self.settle()
        tensors: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict(),
            "optimizer": optimizer_tensors(self.optimizer, self.model),
            "random": random_tensors(self.group),
        }
        if own := self.loss.state_dict():
            tensors["loss"] = own
        state = {
            "position": asdict(self.position),
            "weights": dict(self.model.record.weights),
            "scaler": self.scaler.state_dict(),
            "world_size": self.group.world_size,
        }
        return Checkpoint(tensors, state)

    def settle(self) -> None:
        """Waits for the last step's loss, and refuses one that is no number."""
        pending, self.pending = self.pending, None
        if pending is None:
            return
        loss, norm = float(pending.loss), float(pending.norm)
        self.skipped = 0 if math.isfinite(norm) else self.skipped + 1
        allowed = SKIPS_IN_A_ROW if self.scaler.is_enabled() else 0
        if not math.isfinite(loss) or self.skipped > allowed:
            raise _diverged(pending, loss, norm, self.position.epoch + 1)
        self.position.loss_sum += loss
        if self.group.writes:
            self.events.stepped(self._step_report(pending))

    def step(self, batch: Batch) -> None:
        """Forward, loss, backward, optimizer, average; the loss is asked for a step later."""
        data, position = self.prepared.data, self.position
        refuse_labels_out_of_range(batch, len(data.classes), self.prepared.loader.ignore_index)
        share = learning_rate_share(position.step, self.prepared.total_steps, self._warmup_steps())
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self.config.lr * share
        image_BCHW = move(batch.image_BCHW, self.group.device, self.config.channels_last)
        with autocast(self.group.device, self.config.precision):
            pixels_BCHW = self.model.normalize(image_BCHW, data.full_scale)
            output = output_for(self.loss, self.parallel, pixels_BCHW)
        loss = self._loss(output, batch)
        self.optimizer.zero_grad(set_to_none=True)
        with self._statistics_counted_once():
            self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = clip_grad_norm_(self.model.parameters(), self.config.clip_norm or math.inf)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update(position.step)
        self.clock.step()
        # The step before has ended by now: asking for its loss keeps no device waiting.
        self.settle()
        self.pending = Pending(batch, loss.detach(), norm, self.config.lr * share)

    def _parallel(self) -> nn.Module:
        """The model as a step calls it: over all processes, compiled where that is asked for."""
        return compiled(self.group.parallel(self.model), self.config.compile)

    def _statistics_counted_once(self) -> AbstractContextManager[None]:
        return statistics_kept(self.model) if self.config.checkpoint_activations else nullcontext()

    def _loss(self, output: Any, batch: Batch) -> Tensor:
        device, instances_BHW = self.group.device, batch.instances_BHW
        target_BHW = batch.target_BHW.to(device, non_blocking=True)
        if instances_BHW is not None and getattr(self.loss, "needs_instances", False):
            instances_BHW = instances_BHW.to(device, non_blocking=True)
        return loss_of(self.loss, output, target_BHW, instances_BHW)

    def _restore(self, checkpoint: Checkpoint) -> None:
        tensors = checkpoint.tensors
        load_tensors(self.model, tensors["model"], "model")
        load_tensors(self.average.model, tensors["average"], "averaged model")
        load_tensors(self.loss, tensors.get("loss", {}), "loss")
        restore_optimizer(self.optimizer, self.model, tensors["optimizer"])
        self.scaler.load_state_dict(dict(checkpoint.state["scaler"]))
        restore_random(self.group, tensors["random"])

    def _thaws_by(self, epoch: int) -> bool:
        return self.config.thaw_epoch is not None and epoch + 1 >= self.config.thaw_epoch

    def _warmup_steps(self) -> int:
        return round(self.config.warmup_share * self.prepared.total_steps)

    def _tell_evaluating(self, done: int, images: int) -> None:
        if self.group.writes:
            self.events.evaluating(min(done * self.group.world_size, images), images)

    def _step_report(self, pending: Pending) -> StepReport:
        position = self.position
        # A step is reported once the next one has begun: `batch` counts those that have ended.
        done = max(position.batch, 1)
        return StepReport(
            epoch=position.epoch + 1,
            epochs=self.prepared.epochs,
            batch=done,
            batches=self.prepared.loader.batches_per_epoch,
            step=position.step,
            loss=position.loss_sum / done,
            learning_rate=pending.learning_rate,
            images_per_second=self.clock.images_per_second,
            data_share=self.clock.data_share,
            seconds_left=self.clock.seconds_left(position),
            memory=memory_in_use(self.group.device),
        )


class Clock:
    """How fast a training goes, and how long it will still take."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.evaluation_seconds = 0.0
        self.start_epoch()

    def start_epoch(self) -> None:
        self.started = time.perf_counter()
        self.stepped = self.started
        self.steps = 0
        self.waited = 0.0

    def timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches, and how long each was waited for."""
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            self.waited += time.perf_counter() - asked
            yield batch

    def step(self) -> None:
        self.steps += 1
        self.stepped = time.perf_counter()

    @property
    def seconds_of_epoch(self) -> float:
        return time.perf_counter() - self.started

    @property
    def images_per_second(self) -> float:
        if not self.steps:
            return 0.0
        return self.steps * self.prepared.config.batch / max(self.stepped - self.started, 1e-9)

    @property
    def data_share(self) -> float:
        """The part of the epoch's training so far that went into waiting for batches, 0 to 1."""
        return min(1.0, self.waited / max(self.stepped - self.started, 1e-9)) if self.steps else 0.0

    def seconds_left(self, position: Position) -> float:
        prepared = self.prepared
        if not self.steps:
            return 0.0
        a_step = (self.stepped - self.started) / self.steps
        steps = prepared.total_steps - position.step
        remaining = range(position.epoch + 1, prepared.epochs + 1)
        evaluations = sum(prepared.is_due(number) for number in remaining)
        return a_step * steps + self.evaluation_seconds * evaluations


def make_optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101); norms and biases are not decayed."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in model.parameters():
        (decayed if parameter.ndim > 1 else plain).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    device = next(model.parameters()).device.type
    return torch.optim.AdamW(
        [each for each in groups if each["params"]], lr=lr, fused=device in ("cuda", "cpu")
    )


def _diverged(pending: Pending, loss: float, norm: float, epoch: int) -> DivergedBatch:
    what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}"
    error = DivergedBatch(
        "SK-T001",
        f"{what} in epoch {epoch}, on {', '.join(pending.batch.ids)}.",
        "Look at these images and masks; else lower --lr, or use --precision fp32.",
    )
    error.batch = pending.batch
    return error
