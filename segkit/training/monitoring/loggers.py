"""Where the numbers of a training go beside its own files: one contract for every logger."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from segkit.errors import EnvironmentFault, UsageError, did_you_mean, first_line
from segkit.registry.extras import declared, imported
from segkit.storage import read_json, replace_text
from segkit.training.monitoring.events import EpochReport, Silence, TrainingResult

# A plugin adds a logger by an entry point of this group: its name is what --logger takes, its
# value a class that is made without arguments and keeps the contract.
GROUP = "segkit.loggers"
KEPT = "loggers.json"


class Logger(Protocol):
    """Takes the numbers of one training. Made before the training; raises where it cannot work."""

    def start(self, folder: Path, settings: Mapping[str, Any], known: str) -> str:
        """Begins, or goes on with what `known` names; returns the name of what it writes.

        folder    of the run
        settings  of the training, in plain types
        known     what an earlier start of the same run returned; "" where there was none
        """

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """Finite numbers by name, such as val/miou, at a step of the training."""

    def end(self) -> None:
        """The training has ended."""


class Logging(Silence):
    """Tells loggers what happens. One that fails in the middle is said, and ends no training.

    loggers   by the names they were asked for
    warn      is given a sentence
    """

    def __init__(self, loggers: Mapping[str, Logger], warn: Callable[[str], None]) -> None:
        self.loggers, self.warn, self.begun = dict(loggers), warn, False

    def started(self, folder: Path) -> None:
        """A training begins; where it is one of several, the one before it has ended."""
        from segkit.config import read_config

        self._end()
        kept = folder / KEPT
        known = read_json(kept) if kept.is_file() else {}
        settings = read_config(folder / "config.yaml").model_dump(mode="json")
        for name, logger in list(self.loggers.items()):
            try:
                known[name] = logger.start(folder, settings, str(known.get(name, "")))
            # Logins, servers and folders fail in ways of their own.
            except Exception as error:
                raise EnvironmentFault(
                    "SK-E004",
                    f"{name} cannot log this training ({type(error).__name__}: "
                    f"{first_line(error)}).",
                    HELP.get(name, f"Leave --logger {name} out."),
                ) from error
            self.begun = True
        replace_text(kept, json.dumps(known, indent=2) + "\n")

    def finished_epoch(self, report: EpochReport) -> None:
        scalars = scalars_of(report)
        self._each(lambda logger: logger.log(scalars, report.step))

    def finished(self, result: TrainingResult) -> None:
        self.close()

    def close(self) -> None:
        """Also where a training ends in an error."""
        self._end()
        self.loggers = {}

    def _end(self) -> None:
        if self.begun:
            self._each(lambda logger: logger.end())
        self.begun = False

    def _each(self, call: Callable[[Logger], None]) -> None:
        for name, logger in list(self.loggers.items()):
            try:
                call(logger)
            except Exception as error:  # Their servers and disks are not worth a training.
                del self.loggers[name]
                self.warn(
                    f"{name} failed and gets nothing more ({type(error).__name__}: "
                    f"{first_line(error)}); metrics.csv has every number."
                )


def scalars_of(report: EpochReport) -> dict[str, float]:
    """An epoch's finite numbers by name; every class's IoU as val/class_iou/NAME."""
    found = {
        "train/loss": report.loss,
        "val/loss": report.val_loss,
        "train/learning_rate": report.learning_rate,
        "train/images_per_second": report.images_per_second,
        "train/data_share": report.data_share,
        **{f"val/{name}": value for name, value in report.scores.items()},
        **{f"val/class_iou/{name}": value for name, value in report.class_iou.items()},
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}


def build_loggers(names: Sequence[str]) -> dict[str, Logger]:
    """By name; raises UsageError SK-C009 (unknown), EnvironmentFault SK-E003 (not installed)."""
    offered = _offered()
    built: dict[str, Logger] = {}
    for name in names:
        if name not in offered:
            raise UsageError(
                "SK-C009",
                f"no logger is called '{name}'.",
                f"{did_you_mean(name, offered)}There are {', '.join(sorted(offered))}.",
            )
        built[name] = offered[name]()
    return built


class TensorBoard:
    """Event files in RUN/tensorboard."""

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _missing("TensorBoard", "tensorboard") from error
        self._make: Any = SummaryWriter
        self._writer: Any = None

    def start(self, folder: Path, settings: Mapping[str, Any], known: str) -> str:
        place = str(folder / "tensorboard")
        self._writer = self._make(place)
        return place

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def end(self) -> None:
        if self._writer is not None:
            self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases: its own environment variables say where (WANDB_PROJECT,
    WANDB_MODE=offline, WANDB_API_KEY); without a project it is `segkit`."""

    def __init__(self) -> None:
        try:
            import wandb
        except ImportError as error:
            raise _missing("Weights & Biases", "wandb") from error
        self._wandb: Any = wandb
        self._run: Any = None

    def start(self, folder: Path, settings: Mapping[str, Any], known: str) -> str:
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "segkit"),
            name=folder.name,
            dir=str(folder),
            config=dict(settings),
            id=known or None,
            resume="allow" if known else None,
            # Else it takes over what is printed, and the live display with it.
            settings=self._wandb.Settings(console="off"),
        )
        return str(self._run.id)

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        self._run.log(dict(scalars), step=step)

    def end(self) -> None:
        if self._run is not None:
            self._run.finish()


class MLflow:
    """A run of MLflow: MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say where; without a place it
    is the folder mlruns/ beside the run's."""

    def __init__(self) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise _missing("MLflow", "mlflow-skinny") from error
        self._make: Any = MlflowClient
        self._client: Any = None
        self._run = ""

    def start(self, folder: Path, settings: Mapping[str, Any], known: str) -> str:
        place = os.environ.get("MLFLOW_TRACKING_URI")
        if place is None:
            # Releases from 3 on ask for this where numbers are kept in plain files.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            place = (folder.absolute().parent / "mlruns").as_uri()
        self._client = self._make(tracking_uri=place)
        if known:
            self._run = known
            self._client.update_run(known, status="RUNNING")
            return known
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "segkit")
        found = self._client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self._client.create_experiment(experiment)
        self._run = self._client.create_run(number, run_name=folder.name).info.run_id
        for name, value in settings.items():
            self._client.log_param(self._run, name, str(value)[:500])
        return self._run

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        for name, value in scalars.items():
            # It takes no other signs in a name.
            self._client.log_metric(
                self._run, re.sub(r"[^\w\-. :/]|\.\.", "_", name), value, step=step
            )

    def end(self) -> None:
        if self._client is not None:
            self._client.set_terminated(self._run)


OURS: dict[str, Callable[[], Logger]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}
HELP = {
    "wandb": "Log in with `wandb login`, or keep it on this machine: WANDB_MODE=offline.",
    "mlflow": "Look whether MLFLOW_TRACKING_URI is right and its server is up.",
}


def _offered() -> dict[str, Callable[[], Logger]]:
    """Ours, and those that installed distributions declare; none of them is imported yet."""
    theirs = {
        name: partial(imported, point, f"offers the logger {name}", call=True)
        for name, point in declared(GROUP).items()
    }
    return theirs | OURS


def _missing(what: str, package: str) -> EnvironmentFault:
    return EnvironmentFault(
        "SK-E003",
        f"{what} was asked for, and it is not installed.",
        f"python -m pip install {package}",
    )
