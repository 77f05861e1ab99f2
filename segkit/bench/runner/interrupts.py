"""Ctrl-C while a benchmark runs: noted when it comes, acted upon where a case can be given up."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

# A second Ctrl-C within this time ends the benchmark.
TWICE_SECONDS = 3.0


class Interrupts:
    """Within this context SIGINT raises nothing; `pending` says whether one waits to be heeded."""

    def __init__(self) -> None:
        self._moments: list[float] = []
        self._heeded = 0
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        # Only the main thread may set handlers; elsewhere SIGINT is not ours to hear.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def note(self) -> None:
        """One has come, now."""
        self._moments.append(time.monotonic())

    @property
    def pending(self) -> bool:
        return len(self._moments) > self._heeded

    def heed(self) -> bool:
        """Takes note of all that wait; whether the last two came within TWICE_SECONDS."""
        self._heeded = len(self._moments)
        last = self._moments[-2:]
        return len(last) == 2 and last[1] - last[0] < TWICE_SECONDS

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.note()
