"""A run's folder: settings, model, checkpoints, scores, pictures. A new run gets a new folder."""

from __future__ import annotations

import json
import math
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segkit.config import TrainConfig, to_yaml
from segkit.data.opening.skipping import Skipped, as_csv
from segkit.errors import StorageError, UsageError
from segkit.reporting.tables import as_csv_text
from segkit.storage import replace_text, storage_errors, sweep
from segkit.training.checkpoint.checkpoints import CheckpointFolder
from segkit.training.monitoring.events import EpochReport

CONFIG = "config.yaml"
COLUMNS = (
    "epoch",
    "step",
    "loss",
    "val_loss",
    "learning_rate",
    "images_per_second",
    "data_share",
    "seconds",
    "skipped",
)


class RunFolder:
    """What a training writes, by name.

    config.yaml  data.json  model/  checkpoints/  metrics.csv  metrics.jsonl  samples/
    confusion.csv  decisions.json  report.html
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config_file = folder / CONFIG
        self.model = folder / "model"
        self.samples = folder / "samples"
        self.confusion = folder / "confusion.csv"
        self.report = folder / "report.html"
        self.table = folder / "metrics.csv"
        self.log = folder / "metrics.jsonl"
        self.samples_list = folder / "data.json"
        self.checkpoints = CheckpointFolder(folder / "checkpoints")

    @classmethod
    def create(cls, wanted: Path) -> RunFolder:
        """A new folder: `wanted`, or with the next number added where it exists.

        Raises StorageError SK-S001, SK-S002.
        """
        cls.refuse_file(wanted)
        with storage_errors(wanted):
            wanted.parent.mkdir(parents=True, exist_ok=True)
            number = 1
            folder = wanted
            while True:
                try:
                    folder.mkdir()
                except FileExistsError:
                    number += 1
                    folder = wanted.with_name(f"{wanted.name}-{number}")
                else:
                    return cls(folder)

    @classmethod
    def create_exactly(cls, wanted: Path) -> RunFolder:
        """The folder `wanted`, new or left empty by a training that was stopped at its start.

        Raises UsageError SK-C012 where it holds something else, StorageError SK-S001, SK-S002.
        """
        cls.refuse_file(wanted)
        with storage_errors(wanted):
            wanted.mkdir(parents=True, exist_ok=True)
            sweep(wanted)
            others = [each.name for each in wanted.iterdir() if each.name != ".lock"]
        if others:
            raise UsageError(
                "SK-C012",
                f"{wanted} is no run, and holds {sorted(others)[0]}.",
                "Give a new folder, or one that is empty.",
            )
        return cls(wanted)

    @staticmethod
    def refuse_file(wanted: Path) -> None:
        """Raises UsageError SK-C009 where a file has the name that the folder is to have."""
        for path in (wanted, *wanted.parents):
            if path.exists() and not path.is_dir():
                raise UsageError(
                    "SK-C009",
                    f"--out {wanted}: {path} is a file, and a run needs a folder.",
                    "Give the name of a folder; it need not exist.",
                )

    def refuse_if_gone(self) -> None:
        """Raises StorageError SK-S002 where the folder was moved or removed under the training."""
        if not self.config_file.is_file():
            raise StorageError(
                "SK-S002",
                f"{self.folder} is gone: it was moved, renamed or removed while it was trained.",
                f"Where it was moved: put it back, then segkit train --resume {self.folder}. "
                "Else start again.",
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes out; the lock ends with the process, however that ends.

        Raises StorageError SK-S003 where another process holds it.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        file = self.folder / ".lock"
        with storage_errors(file):
            opened = file.open("a+", encoding="utf-8")
        with opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                opened.seek(0)
                raise StorageError(
                    "SK-S003",
                    f"{self.folder} is in use by {opened.read().strip() or 'another process'}.",
                    "Wait for it, stop it, or start a new run with another --out.",
                ) from error
            opened.truncate(0)
            opened.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            opened.flush()
            yield

    def sweep(self) -> None:
        """Removes what interrupted writes left."""
        sweep(self.folder)
        self.checkpoints.sweep()
        for each in self.samples.glob("*/"):
            sweep(each)

    def write_config(self, config: TrainConfig) -> None:
        """Saves the settings, resolved."""
        with storage_errors(self.config_file):
            replace_text(self.config_file, to_yaml(config))

    def write_samples_list(self, listed: Mapping[str, Any]) -> None:
        """Saves what is trained on, so that a later difference can be named, in data.json."""
        with storage_errors(self.samples_list):
            replace_text(self.samples_list, json.dumps(listed, indent=0) + "\n")

    def write_skipped(self, skipped: Sequence[Skipped]) -> None:
        """Names the samples that were left out, in skipped.csv; no file where there are none."""
        if skipped:
            with storage_errors(self.folder / "skipped.csv"):
                replace_text(self.folder / "skipped.csv", as_csv(skipped))

    def write_confusion(self, classes: Sequence[str], counts_KK: Sequence[Sequence[int]]) -> None:
        """Keeps the best model's count: a row for each true class, a column for each predicted."""
        rows = [[name, *row] for name, row in zip(classes, counts_KK, strict=True)]
        with storage_errors(self.confusion):
            replace_text(self.confusion, as_csv_text([["true / predicted", *classes], *rows]))

    def append(self, report: EpochReport) -> None:
        """Adds an epoch to metrics.csv and metrics.jsonl; n/a is an empty cell and a null."""
        with storage_errors(self.log):
            line = json.dumps(_plain(asdict(report)), allow_nan=False)
            with self.log.open("a", encoding="utf-8") as opened:
                opened.write(line + "\n")
            replace_text(self.table, _as_table(self.reports()))

    def rewind(self, epochs: int) -> None:
        """Forgets what was logged after so many epochs: training will do those again."""
        if not self.log.is_file():
            return
        kept = [each for each in self.reports() if each["epoch"] <= epochs]
        with storage_errors(self.log):
            lines = (json.dumps(each) + "\n" for each in kept)
            replace_text(self.log, "".join(lines))
            replace_text(self.table, _as_table(kept))

    def reports(self) -> list[dict[str, Any]]:
        """Every epoch that is logged, in plain types."""
        reports = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            try:
                reports.append(json.loads(line))
            except ValueError:  # the last line of a process that was killed in the middle of it
                continue
        return reports


def near_run(folder: Path) -> str:
    """The words "Did you mean RUN? ": the run that a path lies in, or those right below it."""
    above = [each for each in list(folder.parents)[:2] if (each / "config.yaml").is_file()]
    below = sorted(each.parent for each in folder.glob("*/config.yaml"))
    shown = " or ".join(map(str, [*above[:1], *below[:3]]))
    return f"Did you mean {shown}? " if shown else ""


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _as_table(reports: list[dict[str, Any]]) -> str:
    """The reports as CSV; scores, then every class's IoU, as they first appear."""
    names = list(dict.fromkeys(name for each in reports for name in each["scores"]))
    classes = list(dict.fromkeys(name for each in reports for name in each.get("class_iou", {})))
    rows = [
        [
            *(each.get(column) for column in COLUMNS),
            *(each["scores"].get(name) for name in names),
            *(each.get("class_iou", {}).get(name) for name in classes),
        ]
        for each in reports
    ]
    return as_csv_text([[*COLUMNS, *names, *(f"class_iou/{name}" for name in classes)], *rows])
