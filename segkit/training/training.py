"""A training from settings to a run folder, from its start or from where it was interrupted."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from segkit.config import TrainConfig, read_config
from segkit.data.opening.skipping import skipped_note
from segkit.device import describe, device_errors
from segkit.distributed import process_group
from segkit.errors import StorageError, UsageError
from segkit.model.folder import save_model
from segkit.scoring.evaluator import Scores
from segkit.storage import storage_errors
from segkit.training.checkpoints import Checkpoint
from segkit.training.events import EpochReport, Events, Silence, TrainingResult
from segkit.training.loop import DivergedBatch, Loop
from segkit.training.run_folder import RunFolder
from segkit.training.samples import write_samples
from segkit.training.setup import Prepared, decisions, prepare, run_name
from segkit.version import __version__

# While a checkpoint is written, the two before it and the best are still there.
CHECKPOINT_ROOM = 2.5


def train(
    config: TrainConfig, events: Events | None = None, *, dry_run: bool = False
) -> TrainingResult | None:
    """Trains from the start in a new run folder; a dry run ends before the folder is made.

    Raises SegkitError: of the settings and the data before the first step, then Diverged,
    OutOfMemory or StorageError.
    """
    with process_group(config.device) as group, device_errors(group.device, less_memory(config)):
        watching = events if events is not None and group.writes else Silence()
        prepared = prepare(config, group, watching)
        watching.decided(decisions(prepared))
        if dry_run:
            return None
        with ExitStack() as stack:
            run = None
            if group.writes:
                run = RunFolder.create(Path(config.out or run_name(config)).expanduser())
                stack.enter_context(run.locked())
                run.write_config(prepared.config)
                run.write_skipped(prepared.data.skipped)
                watching.decided([("run", str(run.folder))])
                watching.started(run.folder)
            result = _Training(prepared, run, watching).run()
            if prepared.data.skipped:
                watching.warned(f"{skipped_note(prepared.data.skipped)} See skipped.csv.")
            return result


def resume(
    folder: Path, changes: Mapping[str, Any] | None = None, events: Events | None = None
) -> TrainingResult:
    """Continues a run exactly from its last checkpoint; one that is complete stays as it is.

    changes   settings that may differ: device, workers, compile, checkpoint_activations, and epochs
              (which stretches the schedule)
    Raises SegkitError: ModelFileError SK-M004 without a checkpoint, else as `train`.
    """
    run = RunFolder(folder.expanduser())
    if not run.config_file.is_file():
        raise UsageError(
            "SK-C009", f"{folder} is no run: it holds no config.yaml.", "Give a run's folder."
        )
    config = read_config(run.config_file).model_copy(update=dict(changes or {}))
    checkpoint = run.checkpoints.load()
    with (
        process_group(config.device) as group,
        device_errors(group.device, less_memory(config)),
        ExitStack() as stack,
    ):
        watching = events if events is not None and group.writes else Silence()
        if group.writes:
            stack.enter_context(run.locked())
            run.checkpoints.sweep()
            run.rewind(checkpoint.state["position"]["epoch"])
        prepared = prepare(config, group, watching, weights=checkpoint.state["weights"])
        position = checkpoint.state["position"]
        place = f"{run.folder}, from epoch {position['epoch'] + 1}, step {position['step'] + 1}"
        watching.decided([*decisions(prepared), ("resume", place)])
        if changes and group.writes:
            run.write_config(prepared.config)
        if checkpoint.state["world_size"] != group.world_size:
            watching.warned(
                f"The run had {checkpoint.state['world_size']} processes and now has "
                f"{group.world_size}: it continues, but not bit by bit as it would have."
            )
        watching.started(run.folder)
        return _Training(prepared, run if group.writes else None, watching, checkpoint).run()


class _Training:
    """The epochs, and what is written after each; `run` is None on all ranks but the first."""

    def __init__(
        self,
        prepared: Prepared,
        run: RunFolder | None,
        events: Events,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.prepared, self.writer, self.events = prepared, run, events
        self.config, self.group = prepared.config, prepared.group
        self.loop = Loop(prepared, events, checkpoint)
        self.started = time.perf_counter()

    def run(self) -> TrainingResult:
        self._refuse_small_disk()
        position = self.loop.position
        stopped = self._reason_to_stop()
        while position.epoch < self.prepared.epochs and not stopped:
            try:
                self.loop.train_epoch(after_step=self._after_step)
            except DivergedBatch as error:
                self._keep_bad_batch(error)
                raise
            stopped = self._after_epoch()
        result = self._result(stopped)
        if self.group.writes:
            self.events.finished(result)
        return result

    def _after_step(self) -> None:
        position = self.loop.position
        steps = self.config.checkpoint_steps
        at_end = position.batch == self.prepared.loader.batches_per_epoch
        if steps and position.step % steps == 0 and not at_end:
            self._save_checkpoint(best=False)

    def _after_epoch(self) -> str:
        """Scores, logs and saves; the reason to stop here, or nothing."""
        number = self.loop.position.epoch + 1
        due = self.prepared.is_due(number)
        scores, is_best = None, False
        if due and self.prepared.evaluates:
            scores = self.loop.evaluate()
            is_best = self.loop.note_score(scores)
        report = self.loop.report(scores, is_best=is_best)
        if is_best or (due and not self.prepared.evaluates):
            self._save_model(scores)
        if self.prepared.shows_samples(number):
            self._write_samples(number)
        self._log(report)
        self.loop.next_epoch()
        if due:
            self._save_checkpoint(best=is_best)
        return self._reason_to_stop()

    def _reason_to_stop(self) -> str:
        """Why training should end before its last epoch, or nothing."""
        waited, patience = self.loop.position.waited, self.config.patience
        if patience and waited >= patience and self.loop.position.epoch < self.prepared.epochs:
            return f"no better score in {waited} evaluations"
        return ""

    def _save_checkpoint(self, *, best: bool) -> None:
        checkpoint = self.loop.checkpoint()
        if self.writer is not None:
            self.writer.checkpoints.save(self.loop.position.step, checkpoint, best=best)

    def _save_model(self, scores: Scores | None) -> None:
        if self.writer is None:
            return
        data = self.prepared.data
        training = {
            "segkit": __version__,
            "data": self.config.data or "demo set",
            "epoch": self.loop.position.epoch + 1,
            "size": self.config.size,
            "intensity": data.intensity.record(),
            "full_scale": data.full_scale,
            "scores": _without_nan(scores.values) if scores else {},
            "conventions": dict(scores.conventions) if scores else {},
            "images": scores.images if scores else 0,
            "device": describe(self.group.device),
            "precision": self.config.precision,
        }
        with storage_errors(self.writer.model):
            save_model(
                self.loop.average.model,
                self.writer.model,
                classes=tuple(data.classes),
                palette=tuple(tuple(colour) for colour in data.palette),
                ignore_index=data.ignore_index,
                training=training,
            )

    def _write_samples(self, number: int) -> None:
        if self.writer is None or not self.config.samples:
            return
        try:
            write_samples(
                self.loop.average.model,
                self.prepared.data,
                self.writer.samples / f"epoch-{number:04d}",
                split="val" if self.prepared.evaluates else "train",
                count=self.config.samples,
                device=self.group.device,
                precision=self.config.precision,
            )
        except StorageError as error:  # pictures are not worth a training
            self.events.warned(str(error))

    def _log(self, report: EpochReport) -> None:
        if self.writer is None:
            return
        try:
            self.writer.append(report)
        except StorageError as error:  # nor is a line of the log
            self.events.warned(str(error))
        self.events.finished_epoch(report)

    def _keep_bad_batch(self, error: DivergedBatch) -> None:
        if self.writer is None:
            return
        batch, file = error.batch, self.writer.folder / "bad_batch.safetensors"
        with storage_errors(file):
            tensors = {"image_BCHW": batch.image_BCHW, "target_BHW": batch.target_BHW}
            plain = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
            save_file(plain, file, metadata={"ids": ", ".join(batch.ids)})
        error.fix = f"{error.fix}\nThe batch is kept in {file}."

    def _refuse_small_disk(self) -> None:
        if self.writer is None:
            return
        weights = sum(each.nbytes for each in self.prepared.model.state_dict().values())
        # Model, average and two moments.
        needed = CHECKPOINT_ROOM * 4 * weights
        free = shutil.disk_usage(self.writer.folder).free
        if free < needed:
            raise StorageError(
                "SK-S001",
                f"the disk that holds {self.writer.folder} has {free / 2**20:,.0f} MiB free, and "
                f"the checkpoints of this model need {needed / 2**20:,.0f}.",
                "Make room, or give a folder on another disk with --out.",
            )

    def _result(self, stopped: str) -> TrainingResult:
        position = self.loop.position
        scores = {
            name: math.nan if value is None else value
            for name, value in position.best_scores.items()
        }
        return TrainingResult(
            folder=self.writer.folder if self.writer else Path(),
            scores=scores,
            score_name=next(iter(scores), ""),
            best_epoch=position.best_epoch,
            epochs=position.epoch,
            seconds=time.perf_counter() - self.started,
            stopped=stopped,
        )


def _without_nan(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def less_memory(config: TrainConfig) -> str:
    """What helps where a training's memory ends."""
    smaller = "a smaller --batch or --size, or --precision bf16"
    if config.checkpoint_activations:
        return f"Use {smaller}."
    return (
        f"Use --checkpoint-activations, {smaller}; a run that has ended an epoch goes on with "
        "--resume RUN --checkpoint-activations."
    )
