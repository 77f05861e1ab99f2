"""What a training tells whoever watches it: plain objects, so that the engine knows no terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class StepReport:
    """After a step.

    epoch, epochs       from 1
    batch, batches      of this epoch, from 1
    step                of the whole training, from 1
    loss                mean over this epoch's steps so far
    learning_rate       of this step
    images_per_second   of this epoch so far, over all processes
    data_share          of this epoch's time so far that went into waiting for batches, 0 to 1
    seconds_left        until the training ends, evaluations included
    memory              bytes in use at most so far; None where unknown
    skipped             steps of this epoch so far that fp16's scaler skipped
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    step: int
    loss: float
    learning_rate: float
    images_per_second: float
    seconds_left: float
    memory: int | None
    data_share: float = 0.0
    skipped: int = 0


@dataclass(frozen=True)
class EpochReport:
    """After an epoch.

    loss          mean over the epoch's steps
    val_loss      mean over the validation images, of the model that is scored; NaN where this epoch
                  was not evaluated, or no validation image has a pixel that counts
    scores        by name, NaN where not defined; empty where this epoch was not evaluated
    conventions   by metric: what is averaged over what
    score_name    the score that decides what is best
    data_share    of the epoch's time of training that went into waiting for batches, 0 to 1
    is_best       whether this epoch's model is the best so far
    class_iou     IoU of every class by its name, NaN where neither truth nor prediction has it
    seconds       of training and of evaluation
    skipped       steps that fp16's scaler skipped, since a gradient was no finite number
    """

    epoch: int
    epochs: int
    step: int
    loss: float
    learning_rate: float
    images_per_second: float
    seconds: float
    memory: int | None
    data_share: float = 0.0
    skipped: int = 0
    val_loss: float = math.nan
    scores: Mapping[str, float] = field(default_factory=dict)
    conventions: Mapping[str, str] = field(default_factory=dict)
    score_name: str = ""
    is_best: bool = False
    class_iou: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves.

    folder       of the run
    scores       of the best model, by name
    best_epoch   from 1; None where nothing was evaluated
    epochs       trained in all
    seconds      of training and evaluation, in this process's life
    stopped      why it ended before the last epoch; empty where it did not
    folds        of a cross-validation, whose scores are the means; 0 of a single training
    told         sentences on the whole of it
    """

    folder: Path
    scores: Mapping[str, float]
    score_name: str
    best_epoch: int | None
    epochs: int
    seconds: float
    stopped: str = ""
    folds: int = 0
    told: Sequence[str] = ()


class Events(Protocol):
    """Is told what happens, in this order; called on rank 0 only."""

    def decided(self, lines: Sequence[tuple[str, str]]) -> None:
        """What the training will do, as (subject, sentence)."""

    def warned(self, text: str) -> None:
        """Something the user should not overlook."""

    def started(self, folder: Path) -> None:
        """The run's folder is there, and the first step is next."""

    def stepped(self, report: StepReport) -> None: ...

    def evaluating(self, done: int, images: int) -> None:
        """So many of the validation images are scored."""

    def finished_epoch(self, report: EpochReport) -> None: ...

    def finished(self, result: TrainingResult) -> None: ...


class Silence:
    """Events that nobody watches."""

    def decided(self, lines: Sequence[tuple[str, str]]) -> None:
        return None

    def warned(self, text: str) -> None:
        return None

    def started(self, folder: Path) -> None:
        return None

    def stepped(self, report: StepReport) -> None:
        return None

    def evaluating(self, done: int, images: int) -> None:
        return None

    def finished_epoch(self, report: EpochReport) -> None:
        return None

    def finished(self, result: TrainingResult) -> None:
        return None


class Several(Silence):
    """Events for several watchers."""

    def __init__(self, *watchers: Events) -> None:
        self.watchers = watchers

    def decided(self, lines: Sequence[tuple[str, str]]) -> None:
        for watcher in self.watchers:
            watcher.decided(lines)

    def warned(self, text: str) -> None:
        for watcher in self.watchers:
            watcher.warned(text)

    def started(self, folder: Path) -> None:
        for watcher in self.watchers:
            watcher.started(folder)

    def stepped(self, report: StepReport) -> None:
        for watcher in self.watchers:
            watcher.stepped(report)

    def evaluating(self, done: int, images: int) -> None:
        for watcher in self.watchers:
            watcher.evaluating(done, images)

    def finished_epoch(self, report: EpochReport) -> None:
        for watcher in self.watchers:
            watcher.finished_epoch(report)

    def finished(self, result: TrainingResult) -> None:
        for watcher in self.watchers:
            watcher.finished(result)
