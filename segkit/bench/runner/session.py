"""What the parts of a running benchmark share: settings, time, whoever watches, the rows so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from segkit.bench.display.watching import Watcher
from segkit.bench.records.case import Case
from segkit.bench.records.row import Row
from segkit.bench.runner.budget import Budget, Progress
from segkit.bench.runner.interrupts import Interrupts
from segkit.bench.runner.process import NoAnswer, WorkerFailed, WorkerProcess
from segkit.bench.runner.settings import Settings

Samples = dict[str, list[list[float]]]


class Interrupted(Exception):
    """Ctrl-C twice: end with what there is."""


@dataclass
class Session:
    """One benchmark while it runs.

    extra_left   seconds that are left for more rounds than asked
    rows         of the cases that are done, by name
    samples      seconds of every step, by case, phase and round
    """

    settings: Settings
    watcher: Watcher
    budget: Budget
    progress: Progress = field(init=False)
    interrupts: Interrupts = field(default_factory=Interrupts)
    rows: dict[str, Row] = field(default_factory=dict)
    samples: dict[str, Samples] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = self.settings
        self.progress = Progress(settings.rounds, settings.round_seconds, self.budget)
        self.extra_left = settings.extra_seconds

    def tell(self, case: Case, stage: str) -> None:
        """Tells the watcher what is being done."""
        self.watcher.working(case, stage, self.progress.share, self.progress.seconds_left)

    def add(self, row: Row) -> None:
        """A case is done."""
        self.rows[row.case.name] = row
        self.watcher.finished_row(row)

    def ask(
        self,
        case: Case,
        worker: WorkerProcess,
        request: Mapping[str, Any],
        *,
        timeout: float,
        budget: Budget | None = None,
        stage: Callable[[str], None] = lambda name: None,
    ) -> Mapping[str, Any]:
        """A worker's answer, waited for no longer than the budget lasts.

        Raises WorkerFailed: its status is "skipped" where Ctrl-C or the budget ended it. Raises
        Interrupted where Ctrl-C came twice in a row.
        """
        left = (budget or self.budget).left
        try:
            return worker.ask(
                request,
                timeout=min(timeout, left),
                stage=stage,
                interrupted=lambda: self.interrupts.pending,
            )
        except NoAnswer:
            if left < timeout:
                raise WorkerFailed("skipped", self.budget.reason) from None
            raise
        except KeyboardInterrupt:
            if not self.interrupts.pending:
                self.interrupts.note()
            worker.kill()
            if self.interrupts.heed():
                raise Interrupted from None
            self.watcher.noticed(f"Skipped {case.name}. Ctrl-C again ends the benchmark.")
            raise WorkerFailed("skipped", "skipped by hand") from None
