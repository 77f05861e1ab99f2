"""A training's scalars as TensorBoard event files, where the extra is installed."""

from __future__ import annotations

import math
from pathlib import Path

from segkit.errors import EnvironmentFault
from segkit.training.monitoring.events import EpochReport, Silence, TrainingResult


class TensorBoardLog(Silence):
    """Writes loss, learning rate, speed and scores per epoch; raises EnvironmentFault SK-E003."""

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise EnvironmentFault(
                "SK-E003",
                "TensorBoard was asked for, and it is not installed.",
                "python -m pip install tensorboard",
            ) from error
        self._make = SummaryWriter
        self._writer: SummaryWriter | None = None

    def started(self, folder: Path) -> None:
        self._writer = self._make(str(folder / "tensorboard"))

    def finished_epoch(self, report: EpochReport) -> None:
        if self._writer is None:
            return
        scalars = {
            "train/loss": report.loss,
            "val/loss": report.val_loss,
            "train/learning_rate": report.learning_rate,
            "train/images_per_second": report.images_per_second,
            "train/data_share": report.data_share,
            **{f"val/{name}": value for name, value in report.scores.items()},
        }
        for name, value in scalars.items():
            if not math.isnan(value):
                self._writer.add_scalar(name, value, report.step)
        self._writer.flush()

    def finished(self, result: TrainingResult) -> None:
        if self._writer is not None:
            self._writer.close()
