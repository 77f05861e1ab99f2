"""A training from settings to a run folder, from its start or from where it was interrupted."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from segkit.config import TrainConfig, with_changes
from segkit.cpu.allocator import keep_freed_memory
from segkit.data.opening.skipping import skipped_note
from segkit.device import device_errors
from segkit.distributed import process_group
from segkit.errors import StorageError, UsageError
from segkit.training.checkpoint.position import Position
from segkit.training.continuing import (
    offering_the_copy,
    refuse_fewer_epochs,
    rewind,
    settings_changed,
    tell,
)
from segkit.training.loop.loop import DivergedBatch, Loop
from segkit.training.loop.memory_of_step import naming_the_step
from segkit.training.monitoring.events import Events, Several, TrainingResult
from segkit.training.monitoring.notebook import Notebook
from segkit.training.preparation.decisions import less_memory, run_name
from segkit.training.preparation.setup import Setup, set_up
from segkit.training.preparation.summary import sentences
from segkit.training.rehearsal.deadline import Deadline
from segkit.training.rehearsal.largest_batch import with_largest_batch
from segkit.training.rehearsal.minutes import within_minutes
from segkit.training.rehearsal.rehearsal import rehearsed
from segkit.training.resuming.identity import other_changes, refuse_another_run, samples_of
from segkit.training.resuming.run_state import Resumed, read_resumed
from segkit.training.run.expected_time import ExpectedTime
from segkit.training.run.report import conclude
from segkit.training.run.run_folder import RunFolder, near_run
from segkit.training.run.writer import Writer, best_scores
from segkit.training.signals import SAVE, Requests, Signals, end_by, listening


def train(
    config: TrainConfig,
    events: Events | None = None,
    *,
    dry_run: bool = False,
    in_place: bool = False,
    deadline: Deadline | None = None,
) -> TrainingResult | None:
    """Trains from the start in a new run folder; a dry run takes three steps, and makes none.

    in_place   in the folder `out` itself, never in one with a number added
    deadline   when it ends, of settings with minutes; None: these begin now
    Raises SegkitError: before the first step, then Diverged, OutOfMemory or StorageError.
    """
    wanted = Path(config.out or run_name(config)).expanduser()
    RunFolder.refuse_file(wanted)
    if deadline is None and config.minutes:
        deadline = Deadline.of(config.minutes, None)
    with (
        listening() as signals,
        process_group(config.device, config.timeout) as group,
        device_errors(group.device, less_memory(config)),
    ):
        notes = Notebook()
        watching = Several(events, notes) if events is not None and group.writes else notes
        chosen: list[tuple[str, str]] = []
        if config.batch == "auto":
            config, chosen = with_largest_batch(config, group)
        setup = set_up(config, group, watching)
        if deadline:
            setup = within_minutes(setup, deadline)
        watching.decided([*sentences(setup), *chosen])
        if dry_run:
            watching.decided(rehearsed(setup, wanted, deadline.seconds if deadline else 0.0))
            return None
        with ExitStack() as stack:
            run = None
            if group.writes:
                run = RunFolder.create_exactly(wanted) if in_place else RunFolder.create(wanted)
                stack.enter_context(run.locked())
                run.write_config(setup.written_config)
                run.write_samples_list(samples_of(setup))
                run.write_skipped(setup.data.skipped)
                watching.decided([("run", str(run.folder))])
                notes.keep(run.folder)
                watching.started(run.folder)
            telling = watching if deadline else Several(watching, ExpectedTime(setup, watching))
            result = _Training(setup, run, telling, signals, deadline=deadline).run()
            if setup.data.skipped:
                watching.warned(f"{skipped_note(setup.data.skipped)} See skipped.csv.")
            if run:
                conclude(run, notes, watching)
            return result


def resume(
    folder: Path,
    changes: Mapping[str, Any] | None = None,
    events: Events | None = None,
    *,
    force: bool = False,
) -> TrainingResult:
    """Continues a run exactly from its last checkpoint; one that is complete stays as it is.

    A run that was stopped before its first checkpoint begins again, in the same folder.

    changes   settings that differ, of segkit.config.CHANGEABLE; epochs stretches the schedule
    force     goes on with other settings, data, parts, threads or releases too; says which
    Raises SegkitError: UsageError SK-C009 for a change that cannot be, SK-C014 where it would be
    another run, ModelFileError SK-M002 for a damaged checkpoint, else as `train`. Nothing is
    written before all has been checked.
    """
    run = RunFolder(folder.expanduser())
    if not run.config_file.is_file():
        why = "it holds no config.yaml" if run.folder.exists() else "it does not exist"
        raise UsageError(
            "SK-C009",
            f"{folder} is no run: {why}.",
            f"{near_run(run.folder)}Give a run's folder.",
        )
    changes = changes or {}
    with offering_the_copy(run):
        config = with_changes(run.config_file, changes)
    resumed = read_resumed(run.checkpoints) if run.checkpoints.any_yet() else None
    refuse_fewer_epochs(config, resumed.state.position if resumed else Position())
    different, allowed = settings_changed(run, config, changes, resumed)
    if not force:
        with offering_the_copy(run):
            refuse_another_run(run.folder, different)
    with (
        listening() as signals,
        process_group(config.device, config.timeout) as group,
        device_errors(group.device, less_memory(config)),
        ExitStack() as stack,
    ):
        notes = Notebook()
        watching = Several(events, notes) if events is not None and group.writes else notes
        if group.writes:
            stack.enter_context(run.locked())
        setup = set_up(config, group, watching, weights=resumed.state.weights if resumed else None)
        if resumed:
            was = resumed.state
            different += other_changes(was.identity, was.world_size, setup, run.samples_list)
        if not force:
            refuse_another_run(run.folder, different)
        tell(run, setup, resumed, [*allowed], different, watching)
        if group.writes:
            rewind(run, setup, resumed, changed=bool(changes or different))
        watching.started(run.folder)
        own = run if group.writes else None
        forced = [*(resumed.state.forced if resumed else ()), *different]
        result = _Training(setup, own, watching, signals, resumed, forced).run()
        if own:
            conclude(own, notes, watching)
        return result


class _Training:
    """The epochs, and what is written after each; `run` is None on all ranks but the first."""

    def __init__(
        self,
        setup: Setup,
        run: RunFolder | None,
        events: Events,
        signals: Signals,
        resumed: Resumed | None = None,
        forced: Sequence[str] = (),
        deadline: Deadline | None = None,
    ) -> None:
        self.setup, self.events, self.signals, self.deadline = setup, events, signals, deadline
        self.config = setup.config
        self.writer = Writer(setup, run, events, forced) if run else None
        if self.config.keep_freed_memory and not keep_freed_memory():
            events.warned("Freed memory cannot be kept: it needs Linux with the GNU C library.")
        self.loop = Loop(setup, resumed, forced)
        self.requests = Requests(signals, setup.group, self.config.checkpoint_minutes)
        self.started = time.perf_counter()

    def run(self) -> TrainingResult:
        if self.writer:
            self.writer.refuse_small_disk()
        self.signals.training = True
        stopped = self._reason_to_stop()
        try:
            with naming_the_step(self.setup, self.loop.learner):
                while self.loop.position.epoch < self.setup.epochs and not stopped:
                    self._train_epoch()
                    self._end_epoch()
                    stopped = self._reason_to_stop()
        except DivergedBatch as error:
            if self.writer and error.batch:
                kept = self.writer.keep_batch(error.batch)
                error.fix = f"{error.fix}\nThe batch is kept in {kept}."
            raise
        except StorageError as error:
            if self.writer:
                self.writer.say_how_to_go_on(error)
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
            self._save_checkpoint()

    def _save_and_end(self, number: int) -> NoReturn:
        """Saves the state after the last step, says so, and ends as signal `number` asks."""
        self._save_checkpoint()
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
            self._save_checkpoint()
        if self.deadline:
            run = self.writer.run if self.writer else None
            self.deadline.keep(self.loop, run, self.events, looked=due)

    def _reason_to_stop(self) -> str:
        """Why training should end before its last epoch, or nothing."""
        waited, patience = self.loop.position.waited, self.config.patience
        over = patience and waited >= patience and self.loop.position.epoch < self.setup.epochs
        return f"no better score in {waited} evaluations" if over else ""

    def _save_checkpoint(self) -> None:
        checkpoint = self.loop.checkpoint()
        if self.writer:
            self.writer.save_checkpoint(checkpoint, self.loop.position.step)
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
