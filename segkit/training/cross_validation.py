"""Cross-validation: a training for each fold of the images, one page of all, and their ensemble.

Each fold's training is a run of its own, in the folder of the whole: it can be looked at, scored
and continued as any other. What the first one decides holds for all, so that their scores differ
by the images alone and their networks can be one ensemble.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from segkit.config import TrainConfig, read_config, to_yaml, with_changes
from segkit.errors import SegkitError, UsageError
from segkit.model.folder import load_model, save_model
from segkit.recipes.deciding import SETTINGS
from segkit.storage import replace_text, storage_errors
from segkit.training.monitoring.events import (
    EpochReport,
    Events,
    Silence,
    StepReport,
    TrainingResult,
)
from segkit.training.preparation.decisions import absolute_paths, run_name
from segkit.training.rehearsal.deadline import Deadline, SharedTime
from segkit.training.run.folds_report import FINISHED, FoldRun, said_of_folds, write_folds_report
from segkit.training.run.run_folder import RunFolder
from segkit.training.training import resume, train

# What the first fold decides for all, beside what a recipe does.
DECIDED_ONCE = (*SETTINGS, "batch", "weights", "separate")
SHARED = "size, network, learning rate and all else that was left open are those of fold 1"


def begin(
    config: TrainConfig,
    events: Events | None = None,
    *,
    dry_run: bool = False,
    in_place: bool = False,
    begun: float | None = None,
) -> TrainingResult | None:
    """`train`; or one training after the other where the settings ask for folds and name none."""
    if not of_folds(config):
        deadline = Deadline.of(config.minutes, begun) if config.minutes else None
        return train(config, events, dry_run=dry_run, in_place=in_place, deadline=deadline)
    _refuse_processes()
    shared = SharedTime.of(config.minutes, begun) if config.minutes else None
    if dry_run:
        one = shared.part(config.folds or 1) if shared else None
        train(config.model_copy(update={"fold": 1}), events, dry_run=True, deadline=one)
        (events or Silence()).decided([("folds", f"{config.folds} trainings like this one")])
        return None
    wanted = Path(config.out or run_name(config)).expanduser()
    whole = RunFolder.create_exactly(wanted) if in_place else RunFolder.create(wanted)
    config = absolute_paths(config)
    with storage_errors(whole.folder):
        replace_text(whole.config_file, to_yaml(config, config.model_fields_set - {"out"}))
    try:
        return _CrossValidation(whole.folder, config, events, shared=shared).run()
    except SegkitError:
        if not (whole.folder / "fold-1").exists():  # nothing has begun
            whole.config_file.unlink(missing_ok=True)
            whole.folder.rmdir()
        raise


def go_on(
    folder: Path,
    changes: Mapping[str, Any] | None = None,
    events: Events | None = None,
    *,
    force: bool = False,
) -> TrainingResult:
    """`resume`; of a cross-validation the folds that are not finished, then the ensemble."""
    run = RunFolder(folder.expanduser())
    if run.config_file.is_file():
        config = with_changes(run.config_file, changes or {})
        if of_folds(config):
            _refuse_processes()
            return _CrossValidation(run.folder, config, events, changes, force=force).run()
    return resume(folder, changes, events, force=force)


def of_folds(config: TrainConfig) -> bool:
    """Whether the settings are of a whole cross-validation, and not of one training."""
    return config.folds is not None and config.fold is None


class _CrossValidation:
    """The folds in their folder, one after the other."""

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        events: Events | None,
        changes: Mapping[str, Any] | None = None,
        *,
        force: bool = False,
        shared: SharedTime | None = None,
    ) -> None:
        self.folder, self.config, self.events = folder, config, events or Silence()
        self.changes, self.force, self.shared = changes or {}, force, shared

    def run(self) -> TrainingResult:
        folds = self.config.folds or 0
        runs = [FoldRun(number, self.folder / f"fold-{number}") for number in range(1, folds + 1)]
        for fold in runs:
            self.events.decided([("fold", f"{fold.number} of {folds}, in {fold.folder}")])
            if self.changes or not fold.finished:
                self._record(fold, self._trained(fold, runs))
            told = f"{fold.record['score']} {fold.score:.4f}" if fold.record["score"] else ""
            self.events.decided([("fold", f"{fold.number} ended: {told or 'nothing scored'}")])
        together = load_model([fold.folder for fold in runs])
        about = {"data": self.config.data or "demo set", "folds": folds}
        save_model(together, self.folder / "model", training={**together.record.training, **about})
        write_folds_report(self.folder)
        result = self._result(runs)
        self.events.finished(result)
        return result

    def _trained(self, fold: FoldRun, runs: Sequence[FoldRun]) -> TrainingResult:
        """The fold's training, from its start or from where it was interrupted."""
        events = _OneOfSeveral(self.events, fold.folder, self.folder)
        if RunFolder(fold.folder).config_file.is_file():
            return resume(fold.folder, self.changes, events, force=self.force)
        changes: dict[str, Any] = {"fold": fold.number, "out": str(fold.folder)}
        if fold.number > 1:
            first = read_config(RunFolder(runs[0].folder).config_file)
            changes |= {name: getattr(first, name) for name in DECIDED_ONCE}
            self.events.decided([("fold", SHARED)])
        config = self.config.model_copy(update=changes)
        result = train(config, events, in_place=True, deadline=self._deadline(fold, runs))
        assert result is not None  # only a dry run gives nothing
        return result

    def _deadline(self, fold: FoldRun, runs: Sequence[FoldRun]) -> Deadline | None:
        """The fold's part of the minutes; of a cross-validation that goes on, its part of all."""
        if not self.config.minutes:
            return None
        left = len(runs) - fold.number + 1
        shared = self.shared or SharedTime.of(self.config.minutes * left / len(runs), None)
        if fold.number > 1:
            shared.gathering = len(runs) * _seconds_to_load(runs[0])
        return shared.part(left)

    def _record(self, fold: FoldRun, result: TrainingResult) -> None:
        plain = {k: None if math.isnan(value) else value for k, value in result.scores.items()}
        record = {
            "score": result.score_name,
            "scores": plain,
            "best_epoch": result.best_epoch,
            "seconds": result.seconds,
        }
        with storage_errors(fold.folder):
            replace_text(fold.folder / FINISHED, json.dumps(record, indent=1) + "\n")

    def _result(self, runs: Sequence[FoldRun]) -> TrainingResult:
        records = [fold.record for fold in runs]
        found = {name: [r["scores"].get(name) for r in records] for name in records[0]["scores"]}
        known = {n: [each for each in values if each is not None] for n, values in found.items()}
        return TrainingResult(
            folder=self.folder,
            scores={n: fmean(values) if values else math.nan for n, values in known.items()},
            score_name=str(records[0]["score"]),
            best_epoch=None,
            epochs=sum(fold.epochs for fold in runs),
            seconds=sum(float(each["seconds"]) for each in records),
            folds=len(runs),
            told=said_of_folds(runs),
        )


def _seconds_to_load(fold: FoldRun) -> float:
    began = time.perf_counter()
    load_model(fold.folder)
    return time.perf_counter() - began


class _OneOfSeveral:
    """Tells whoever watches the whole of one fold's training; its end is not the end of all."""

    def __init__(self, events: Events, run: Path, whole: Path) -> None:
        self.events, self.run, self.whole = events, run, whole

    def decided(self, lines: Sequence[tuple[str, str]]) -> None:
        self.events.decided(lines)

    def warned(self, text: str) -> None:
        self.events.warned(text.replace(f"--resume {self.run}", f"--resume {self.whole}"))

    def started(self, folder: Path) -> None:
        self.events.started(folder)

    def stepped(self, report: StepReport) -> None:
        self.events.stepped(report)

    def evaluating(self, done: int, images: int) -> None:
        self.events.evaluating(done, images)

    def finished_epoch(self, report: EpochReport) -> None:
        self.events.finished_epoch(report)

    def finished(self, result: TrainingResult) -> None:
        return None


def _refuse_processes() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "SK-C009",
            "--folds trains one fold after the other in one process, and several were started.",
            "Leave --devices out; or train each fold by itself: --set folds=5 --set fold=1.",
        )
