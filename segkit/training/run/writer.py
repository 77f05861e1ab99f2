"""What a training leaves in its run folder; on processes other than the first it leaves nothing."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save_file

from segkit.data.batches import Batch
from segkit.device import describe
from segkit.errors import StorageError
from segkit.inference.predictor import Predictor
from segkit.model.folder import save_model
from segkit.model.network import SegmentationModel
from segkit.scoring.evaluator import Scores
from segkit.storage import storage_errors
from segkit.training.checkpoint.checkpoints import KEEP, Checkpoint
from segkit.training.checkpoint.position import Position
from segkit.training.monitoring.events import EpochReport, Events
from segkit.training.monitoring.samples import write_samples
from segkit.training.preparation.setup import Setup
from segkit.training.run.run_folder import RunFolder
from segkit.version import __version__

# AdamW keeps two moments of each parameter, and SGD one.
MOMENTS = {"adamw": 2, "sgd": 1}


def disk_needed(setup: Setup) -> int:
    """Bytes that a run's checkpoints and models take at most."""
    model, config = setup.model, setup.config
    weights = sum(each.nbytes for each in model.state_dict().values())
    learning = sum(each.nbytes for each in model.parameters())
    average = weights if config.ema_decay else 0
    checkpoint = weights + average + MOMENTS.get(config.optimizer, 2) * learning
    # While one is written, those that are kept are still there, and a model beside its successor.
    return (KEEP + 1) * checkpoint + 2 * weights


class Writer:
    """Writes model, checkpoints, logs and pictures of a training into `run`.

    forced   differences from how the run began that were accepted: its model says so
    events   is told where a picture could not be written, which is not worth a training; all else
             that cannot be written ends it with StorageError
    """

    def __init__(
        self, setup: Setup, run: RunFolder, events: Events, forced: Sequence[str] = ()
    ) -> None:
        self.setup, self.run, self.events, self.forced = setup, run, events, forced

    def refuse_small_disk(self) -> None:
        """Raises StorageError SK-S001 where the checkpoints to come would not fit."""
        needed = disk_needed(self.setup)
        free = shutil.disk_usage(self.run.folder).free
        if free < needed:
            raise StorageError(
                "SK-S001",
                f"the disk that holds {self.run.folder} has {free:,} bytes free, and the "
                f"checkpoints of this model need {needed:,}.",
                "Make room, or give a folder on another disk with --out.",
            )

    def save_checkpoint(self, checkpoint: Checkpoint, step: int) -> None:
        self.run.refuse_if_gone()
        self.run.checkpoints.save(step, checkpoint, self.run.model)

    def save_model(self, model: SegmentationModel, scores: Scores | None, epoch: int) -> None:
        """Writes the model with what is known of its training; `epoch` from 1."""
        self.run.refuse_if_gone()
        config, data = self.setup.config, self.setup.data
        training = {
            "segkit": __version__,
            "data": config.data or "demo set",
            "epoch": epoch,
            "size": config.size,
            "intensity": data.intensity.record(),
            "reading": data.reading.record(),
            "scores": without_nan(scores.values) if scores else {},
            "conventions": dict(scores.conventions) if scores else {},
            "images": scores.images if scores else 0,
            "device": describe(self.setup.group.device),
            "precision": config.precision,
            **({"forced": list(self.forced)} if self.forced else {}),
        }
        with storage_errors(self.run.model):
            save_model(
                model,
                self.run.model,
                classes=tuple(data.classes),
                palette=tuple(tuple(colour) for colour in data.palette),
                ignore_index=data.ignore_index,
                training=training,
            )
            if scores is not None:
                self.run.write_confusion(data.classes, scores.counts_KK.tolist())

    def write_samples(self, model: SegmentationModel, epoch: int) -> None:
        """Pictures of the model at work after `epoch`, from 1."""
        setup = self.setup
        if not setup.config.samples:
            return
        self.run.refuse_if_gone()
        try:
            write_samples(
                Predictor(
                    model,
                    setup.group.device,
                    setup.config.precision,
                    channels_last=setup.config.channels_last,
                ),
                setup.data,
                self.run.samples / f"epoch-{epoch:04d}",
                split="val" if setup.evaluates else "train",
                count=setup.config.samples,
            )
        except StorageError as error:
            self.events.warned(str(error))

    def log(self, report: EpochReport) -> None:
        self.run.refuse_if_gone()
        self.run.append(report)

    def say_how_to_go_on(self, error: StorageError) -> None:
        """Adds to an error of the disk what is saved, and the command that goes on from it."""
        run = self.run
        if error.code not in ("SK-S001", "SK-S002") or not run.config_file.is_file():
            return
        steps = run.checkpoints.steps()
        upto = (
            f"is whole up to step {int(steps[-1].name[5:])}" if steps else "has no checkpoint yet"
        )
        error.fix = f"{error.fix}\n{run.folder} {upto}: segkit train --resume {run.folder}"

    def keep_batch(self, batch: Batch) -> Path:
        """Writes a batch that broke the training, to be looked at; returns the file."""
        file = self.run.folder / "bad_batch.safetensors"
        tensors = {"image_BCHW": batch.image_BCHW, "target_BHW": batch.target_BHW}
        plain = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        with storage_errors(file):
            save_file(plain, file, metadata={"ids": ", ".join(batch.ids)})
        return file


def without_nan(values: Mapping[str, float]) -> dict[str, float | None]:
    """The scores as JSON can hold them: None where not defined."""
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def best_scores(position: Position) -> dict[str, float]:
    """The best model's scores; NaN where not defined."""
    held = position.best_scores.items()
    return {name: math.nan if value is None else value for name, value in held}
