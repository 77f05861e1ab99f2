"""A training from settings to a run folder, from its start or from where it was interrupted."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from segkit.config import TrainConfig, with_changes
from segkit.cpu.allocator import keep_freed_memory
from segkit.data.opening.skipping import skipped_note
from segkit.device import device_errors
from segkit.distributed import process_group
from segkit.errors import StorageError, UsageError
from segkit.training.checkpoints import Checkpoint
from segkit.training.decisions import run_name
from segkit.training.events import Events, Silence, TrainingResult
from segkit.training.loop import DivergedBatch, Loop
from segkit.training.position import Position
from segkit.training.rehearsal import rehearsed
from segkit.training.run_folder import RunFolder
from segkit.training.setup import Setup, set_up
from segkit.training.signals import SAVE, Requests, Signals, end_by, listening
from segkit.training.summary import sentences
from segkit.training.writer import Writer, best_scores


def train(
    config: TrainConfig, events: Events | None = None, *, dry_run: bool = False
) -> TrainingResult | None:
    """Trains from the start in a new run folder; a dry run takes three steps, and makes none.

    Raises SegkitError: of the settings and the data before the first step, then Diverged,
    OutOfMemory or StorageError.
    """
    wanted = Path(config.out or run_name(config)).expanduser()
    RunFolder.refuse_file(wanted)
    with (
        listening() as signals,
        process_group(config.device) as group,
        device_errors(group.device, less_memory(config)),
    ):
        watching = events if events is not None and group.writes else Silence()
        setup = set_up(config, group, watching)
        watching.decided(sentences(setup))
        if dry_run:
            watching.decided(rehearsed(setup, wanted))
            return None
        with ExitStack() as stack:
            run = None
            if group.writes:
                run = RunFolder.create(wanted)
                stack.enter_context(run.locked())
                run.write_config(setup.config)
                run.write_skipped(setup.data.skipped)
                watching.decided([("run", str(run.folder))])
                watching.started(run.folder)
            result = _Training(setup, run, watching, signals).run()
            if setup.data.skipped:
                watching.warned(f"{skipped_note(setup.data.skipped)} See skipped.csv.")
            return result


def resume(
    folder: Path, changes: Mapping[str, Any] | None = None, events: Events | None = None
) -> TrainingResult:
    """Continues a run exactly from its last checkpoint; one that is complete stays as it is.

    A run that was stopped before its first checkpoint begins again, in the same folder.


    changes   settings that differ, of segkit.config.CHANGEABLE; epochs stretches the schedule
    Raises SegkitError: UsageError SK-C009 for a change that cannot be, ModelFileError SK-M002 for a
    damaged checkpoint, else as `train`. Nothing is written before all has been checked.
    """
    run = RunFolder(folder.expanduser())
    if not run.config_file.is_file():
        raise UsageError(
            "SK-C009", f"{folder} is no run: it holds no config.yaml.", "Give a run's folder."
        )
    config = with_changes(run.config_file, changes or {})
    checkpoint = run.checkpoints.load() if run.checkpoints.any_yet() else None
    position = Position(**checkpoint.state["position"]) if checkpoint else Position()
    _refuse_fewer_epochs(config, position)
    with (
        listening() as signals,
        process_group(config.device) as group,
        device_errors(group.device, less_memory(config)),
        ExitStack() as stack,
    ):
        watching = events if events is not None and group.writes else Silence()
        if group.writes:
            stack.enter_context(run.locked())
        started_from = checkpoint.state["weights"] if checkpoint else None
        setup = set_up(config, group, watching, weights=started_from)
        place = f"{run.folder}, from epoch {position.epoch + 1}, step {position.step + 1}"
        watching.decided([*sentences(setup), ("resume", place)])
        if group.writes:
            run.checkpoints.sweep()
            run.rewind(position.epoch)
            if changes:
                run.write_config(setup.config)
        if checkpoint and checkpoint.state["world_size"] != group.world_size:
            watching.warned(
                f"The run had {checkpoint.state['world_size']} processes and now has "
                f"{group.world_size}: it continues, but not bit by bit as it would have."
            )
        watching.started(run.folder)
        own = run if group.writes else None
        return _Training(setup, own, watching, signals, checkpoint).run()


class _Training:
    """The epochs, and what is written after each; `run` is None on all ranks but the first."""

    def __init__(
        self,
        setup: Setup,
        run: RunFolder | None,
        events: Events,
        signals: Signals,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.setup, self.events, self.signals = setup, events, signals
        self.config = setup.config
        self.writer = Writer(setup, run, events) if run else None
        if self.config.keep_freed_memory and not keep_freed_memory():
            events.warned("Freed memory cannot be kept: it needs Linux with the GNU C library.")
        self.loop = Loop(setup, checkpoint)
        self.requests = Requests(signals, setup.group, self.config.checkpoint_minutes)
        self.started = time.perf_counter()

    def run(self) -> TrainingResult:
        if self.writer:
            self.writer.refuse_small_disk()
        self.signals.training = True
        stopped = self._reason_to_stop()
        try:
            while self.loop.position.epoch < self.setup.epochs and not stopped:
                self._train_epoch()
                self._end_epoch()
                stopped = self._reason_to_stop()
        except DivergedBatch as error:
            if self.writer and error.batch:
                kept = self.writer.keep_batch(error.batch)
                error.fix = f"{error.fix}\nThe batch is kept in {kept}."
            raise
        finally:
            self.signals.training = False
        result = self._result(stopped)
        self.events.finished(result)
        return result

    def _train_epoch(self) -> None:
        try:
            for report in self.loop.train_epoch():
                if report:
                    self.events.stepped(report)
                self._after_step()
        except StorageError:
            # A signal to all processes ends the reading ones first: the last step stands.
            if not self.signals.ending or self.setup.group.world_size > 1:
                raise
            self._save_and_end(self.signals.ending)

    def _after_step(self) -> None:
        position = self.loop.position
        steps = self.config.checkpoint_steps
        at_end = position.batch == self.setup.loader.batches_per_epoch
        request = self.requests.at_step()
        if request > SAVE:
            self._save_and_end(request)
        if request == SAVE or (steps and position.step % steps == 0 and not at_end):
            self._save_checkpoint(best=False)

    def _save_and_end(self, number: int) -> NoReturn:
        """Saves the state after the last step, says so, and ends as signal `number` asks."""
        self._save_checkpoint(best=False)
        position = self.loop.position
        if self.writer:
            self.events.warned(
                f"{signal.Signals(number).name}: saved after step {position.step}, in epoch "
                f"{position.epoch + 1}. Continue with: segkit train --resume "
                f"{self.writer.run.folder}"
            )
        end_by(number)

    def _scored(self, done: int, images: int) -> None:
        """Between two images of an evaluation: leaves it where the training is to end."""
        self.events.evaluating(done, images)
        if number := self.requests.at_evaluation():
            # Saved is the end of the epoch's last step, before the evaluation.
            self._save_and_end(number)

    def _end_epoch(self) -> None:
        """Scores, logs and saves the epoch just trained."""
        number = self.loop.position.epoch + 1
        average = self.loop.learner.average.model
        due = self.setup.is_due(number)
        scores, is_best = None, False
        if due and self.setup.evaluates:
            self.loop.refuse_infinite_model()
            scores = self.loop.evaluate(self._scored)
            is_best = self.loop.note_score(scores)
        report = self.loop.epoch_report(scores, is_best=is_best)
        if self.writer:
            if is_best or (due and not self.setup.evaluates):
                self.writer.save_model(average, scores, number)
            if self.setup.shows_samples(number):
                self.writer.write_samples(average, number)
            self.writer.log(report)
        self.events.finished_epoch(report)
        self.loop.position.next_epoch()
        if due:
            self._save_checkpoint(best=is_best)

    def _reason_to_stop(self) -> str:
        """Why training should end before its last epoch, or nothing."""
        waited, patience = self.loop.position.waited, self.config.patience
        if patience and waited >= patience and self.loop.position.epoch < self.setup.epochs:
            return f"no better score in {waited} evaluations"
        return ""

    def _save_checkpoint(self, *, best: bool) -> None:
        checkpoint = self.loop.checkpoint()
        if self.writer:
            self.writer.save_checkpoint(checkpoint, self.loop.position.step, best=best)
        self.requests.saved()

    def _result(self, stopped: str) -> TrainingResult:
        position = self.loop.position
        scores = best_scores(position)
        return TrainingResult(
            folder=self.writer.run.folder if self.writer else Path(),
            scores=scores,
            score_name=next(iter(scores), ""),
            best_epoch=position.best_epoch,
            epochs=position.epoch,
            seconds=time.perf_counter() - self.started,
            stopped=stopped,
        )


def _refuse_fewer_epochs(config: TrainConfig, position: Position) -> None:
    begun = position.epoch + (position.batch > 0)
    if config.epochs is not None and config.epochs < begun:
        raise UsageError(
            "SK-C009",
            f"--epochs {config.epochs}: the run is in epoch {begun} already.",
            f"Give {begun} or more, or leave --epochs out.",
        )


def less_memory(config: TrainConfig) -> str:
    """What helps where a training's memory ends."""
    smaller = "--accumulate 2 or more, a smaller --batch or --size, or --precision bf16"
    if config.checkpoint_activations:
        return f"Use {smaller}."
    return (
        f"Use --checkpoint-activations, {smaller}; a run that has ended an epoch goes on with "
        "--resume RUN --checkpoint-activations."
    )
