"""Reading and augmenting images: batches a second, without any network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from segkit.bench.instruments.instrument import Mark
from segkit.bench.records.case import Case
from segkit.data.batches import Batch
from segkit.data.loader import TrainingLoader
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions

DEMO = "demo"


class DataWorkload:
    """Batches of the training split, augmented as `segkit train` does by default."""

    unit = "image"

    def __init__(self, case: Case) -> None:
        self.case, self.units = case, case.batch
        self.epoch = 0

    def load_code(self) -> None:
        """Imported with this file."""

    def set_up(self) -> None:
        case = self.case
        folder = None if case.data in (None, DEMO) else Path(case.data).expanduser()
        channels = case.channels if folder is None else None
        data = open_data(folder, DataOptions(in_channels=channels))
        self.loader = TrainingLoader(
            data.split("train"),
            size=case.size,
            batch=case.batch,
            seed=0,
            ignore_index=data.ignore_index,
            workers=case.workers,
        )
        self.batches = self._next_epoch()

    def load(self) -> None:
        """Nothing to put in place: the batch is the work."""

    def work(self, mark: Mark) -> None:
        if next(self.batches, None) is None:
            self.batches = self._next_epoch()
            next(self.batches)

    def check(self) -> None:
        return None

    def count(self) -> None:
        return None

    def held_bytes(self) -> int:
        return 0

    def _next_epoch(self) -> Iterator[Batch]:
        self.epoch += 1
        return iter(self.loader.epoch(self.epoch))
