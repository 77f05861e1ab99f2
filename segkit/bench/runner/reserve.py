"""A worker that has its libraries before it is needed: importing them takes seconds, every time."""

from __future__ import annotations

from collections.abc import Callable

from segkit.bench.runner.budget import Budget
from segkit.bench.runner.process import WorkerFailed, WorkerProcess

LOAD_SECONDS = 120.0


class Reserve:
    """At most one worker beyond those at work; it has no case yet and is like any other.

    It imports while another one is checked and warmed up, whose seconds are not shown, and never
    while times or memory are taken: `settle` waits for its end before they are.
    """

    def __init__(self, start: Callable[[], WorkerProcess], budget: Budget) -> None:
        self.start, self.budget = start, budget
        self._worker: WorkerProcess | None = None
        self._loading = False

    def stock(self) -> None:
        """Starts a worker, unless one is there."""
        if self._worker is None:
            self._worker = self.start()
            self._worker.tell({"do": "load"})
            self._loading = True

    def settle(self) -> None:
        """Waits until the worker has its libraries; one that fails at that is given up."""
        if self._worker is None or not self._loading:
            return
        self._loading = False
        try:
            self._worker.hear(timeout=min(LOAD_SECONDS, self.budget.left))
        # The next one is asked for a case and tells what is wrong, in the row.
        except WorkerFailed:
            self.close()

    def take(self) -> WorkerProcess:
        """The worker in reserve, or a new one."""
        self.settle()
        worker, self._worker = self._worker or self.start(), None
        return worker

    def close(self) -> None:
        """Ends the worker that nobody took."""
        if self._worker is not None:
            self._worker.kill()
            self._worker.close()
        self._worker, self._loading = None, False
