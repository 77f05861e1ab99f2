"""The training loop: epochs of steps, scored, and at any moment exactly continuable."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence

import torch

from segkit.config import to_yaml
from segkit.data.batches import Batch
from segkit.data.loader import EvaluationLoader
from segkit.data.opening.opened import Data
from segkit.device import memory_in_use
from segkit.errors import Diverged
from segkit.inference.predictor import Predictor
from segkit.scoring.evaluation import evaluate
from segkit.scoring.evaluator import Scores
from segkit.scoring.mean_loss import MeanLoss
from segkit.scoring.per_image import Overlap
from segkit.training.checkpoint.checkpoints import Checkpoint
from segkit.training.checkpoint.position import Position
from segkit.training.loop.learner import Learner, Outcome
from segkit.training.monitoring.clock import Clock
from segkit.training.monitoring.events import EpochReport, StepReport
from segkit.training.preparation.setup import Setup
from segkit.training.resuming.identity import as_planned, identity_of
from segkit.training.resuming.run_state import Resumed, RunState

SKIPS_IN_A_ROW = 50


class DivergedBatch(Diverged):
    """Diverged, with the batch that did it."""

    batch: Batch | None


class Loop:
    """A training under way.

    position   where it is
    learner    the networks that it trains
    forced     differences from how it began that were accepted, a sentence each
    """

    def __init__(
        self, setup: Setup, resumed: Resumed | None = None, forced: Sequence[str] = ()
    ) -> None:
        self.setup, self.config, self.group = setup, setup.config, setup.group
        self.position = resumed.state.position_for(setup.group) if resumed else Position()
        self.identity, self.forced = identity_of(setup), list(forced)
        self.learner = Learner(setup, self.position.epoch, resumed.tensors if resumed else None)
        if resumed:
            self.learner.scaler.load_state_dict(dict(resumed.state.scaler))
        self.pending: Outcome | None = None
        self.latest: StepReport | None = None
        self.latest_batch: Batch | None = None
        self.skipped_in_a_row = 0
        self.validation_loss = math.nan
        self.clock = Clock(int(self.config.batch))

    def train_epoch(self) -> Iterator[StepReport | None]:
        """Trains to the end of the epoch, a step at a time; between two steps it can be left.

        Gives the report of the step before: a step's own loss is still being computed.
        """
        position = self.position
        self.learner.start_epoch(position.epoch)
        self.clock.start_epoch()
        batches = self.setup.loader.epoch(position.epoch, start=position.batch)
        for batch in self.clock.timed(batches):
            self.step(batch)
            yield self._latest_report()
        self.settle()
        yield self._latest_report()

    def step(self, batch: Batch) -> None:
        """Takes the next step; its loss is asked for with the step after it, or by `settle`."""
        outcome = self.learner.step(batch, self.position.step)
        self.clock.step()
        # The step before has ended by now: asking for its loss keeps no device waiting.
        self.settle()
        self.pending, self.latest_batch = outcome, batch
        self.position.next_batch()

    def settle(self) -> None:
        """Waits for the last step's loss; raises DivergedBatch SK-T001 where it is no number."""
        pending, self.pending = self.pending, None
        if pending is None:
            return
        loss, norm = float(pending.loss), float(pending.norm)
        skips = not math.isfinite(norm)
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if skips else 0
        allowed = SKIPS_IN_A_ROW if self.learner.scaler.is_enabled() else 0
        if not math.isfinite(loss) or self.skipped_in_a_row > allowed:
            raise _diverged(pending, loss, norm, self.position.epoch + 1)
        self.position.skipped += skips
        self.position.loss_sum += loss
        self.latest = self._step_report(pending)

    def evaluate(self, progress: Callable[[int, int], None]) -> Scores:
        """Scores the averaged model on the validation images, over all processes.

        progress   called with the images scored so far, and all
        """
        data, config, group = self.setup.data, self.config, self.group
        started = time.perf_counter()
        group.share_(self.learner.average.model)
        dataset = data.split("val")
        images = len(dataset)
        loader = EvaluationLoader(
            dataset,
            batch=self.setup.batch_per_process,
            workers=int(config.workers),
            rank=group.rank,
            world_size=group.world_size,
        )
        loss = MeanLoss(self.learner.loss, data.ignore_index)
        scores = evaluate(
            Predictor(
                self.learner.average.model,
                group.device,
                config.precision,
                channels_last=config.channels_last,
            ),
            loader,
            self.setup.evaluator,
            full_scale=data.full_scale,
            loss=loss,
            progress=lambda done: progress(min(done * group.world_size, images), images),
        )
        self.validation_loss = loss.value(group)
        self.clock.evaluation_seconds = time.perf_counter() - started
        return scores

    def epoch_report(self, scores: Scores | None, *, is_best: bool) -> EpochReport:
        """What the epoch just done amounts to."""
        position, group = self.position, self.group
        loss_sum = torch.tensor([position.loss_sum], dtype=torch.float64)
        group.sum_(loss_sum)
        return EpochReport(
            epoch=position.epoch + 1,
            epochs=self.setup.epochs,
            step=position.step,
            loss=float(loss_sum) / group.world_size / max(position.batch, 1),
            learning_rate=self.learner.optimizer.param_groups[0]["lr"],
            images_per_second=self.clock.images_per_second,
            seconds=self.clock.seconds_of_epoch,
            data_share=self.clock.data_share,
            memory=memory_in_use(group.device),
            skipped=position.skipped,
            val_loss=self.validation_loss if scores else math.nan,
            scores=scores.values if scores else {},
            conventions=scores.conventions if scores else {},
            score_name=scores.first if scores else "",
            is_best=is_best,
            class_iou=_class_iou(scores, self.setup.data) if scores else {},
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

    def replan(self, epochs: int) -> None:
        """Makes it so many epochs in all; the schedule runs out with the last."""
        self.setup.length.replan(epochs, self.position.epoch)
        self.identity = as_planned(self.identity, self.setup)

    def checkpoint(self) -> Checkpoint:
        """Everything needed to continue exactly; every process must ask, since all contribute.

        Raises DivergedBatch SK-T001 rather than to save a model that is no longer finite.
        """
        self.settle()
        self.refuse_infinite_model()
        own = torch.tensor([self.position.loss_sum], dtype=torch.float64)
        state = RunState(
            position=self.position,
            weights=dict(self.setup.model.record.weights),
            scaler=self.learner.scaler.state_dict(),
            world_size=self.group.world_size,
            loss_sums=[float(each) for each in self.group.gather(own)],
            identity=self.identity,
            forced=self.forced,
        )
        tensors = self.learner.checkpoint_tensors()
        return Checkpoint(tensors, state.record(), to_yaml(self.setup.written_config))

    def refuse_infinite_model(self) -> None:
        """Raises DivergedBatch SK-T001 where a weight or a norm's statistic is no finite number."""
        name = self.learner.name_of_infinite()
        if not name:
            return
        error = DivergedBatch(
            "SK-T001",
            f"the model is broken in epoch {self.position.epoch + 1}: {name} holds values that are "
            "no finite numbers. It is not saved, and the best model so far stays.",
            "Lower --lr, or use --precision fp32.",
        )
        error.batch = self.latest_batch
        raise error

    def _latest_report(self) -> StepReport | None:
        """The last report that was not given yet."""
        latest, self.latest = self.latest, None
        return latest

    def _step_report(self, outcome: Outcome) -> StepReport:
        position, setup = self.position, self.setup
        # A step is reported once the next one has begun: `batch` counts those that have ended.
        done = max(position.batch, 1)
        evaluations = sum(setup.is_due(n) for n in range(position.epoch + 1, setup.epochs + 1))
        return StepReport(
            epoch=position.epoch + 1,
            epochs=setup.epochs,
            batch=done,
            batches=setup.loader.batches_per_epoch,
            step=position.step,
            loss=position.loss_sum / done,
            learning_rate=outcome.learning_rate,
            images_per_second=self.clock.images_per_second,
            data_share=self.clock.data_share,
            seconds_left=self.clock.seconds_left(setup.total_steps - position.step, evaluations),
            memory=memory_in_use(self.group.device),
            skipped=position.skipped,
        )


def _class_iou(scores: Scores, data: Data) -> dict[str, float]:
    """Each class's IoU on the validation images; of two classes of one name that of the last."""
    counts_KK = scores.counts_KK.numpy()
    overlap = Overlap(counts_KK.diagonal(), counts_KK.sum(1), counts_KK.sum(0), data.ignore_index)
    return dict(zip(data.classes, overlap.iou_XK.tolist(), strict=True))


def _diverged(outcome: Outcome, loss: float, norm: float, epoch: int) -> DivergedBatch:
    what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}"
    error = DivergedBatch(
        "SK-T001",
        f"{what} in epoch {epoch}, on {', '.join(outcome.batch.ids)}.",
        "Look at these images and masks; else lower --lr, or use --precision fp32.",
    )
    error.batch = outcome.batch
    return error
