"""How fast a training goes, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Iterator

from segkit.data.batches import Batch


class Clock:
    """The times of an epoch under way.

    images_per_step       over all processes
    evaluation_seconds    that the last evaluation took
    """

    def __init__(self, images_per_step: int) -> None:
        self.images_per_step = images_per_step
        self.evaluation_seconds = 0.0
        self.start_epoch()

    def start_epoch(self) -> None:
        self.started = time.perf_counter()
        self.stepped = self.started
        self.steps = 0
        self.waited = 0.0

    def timed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches; how long each was waited for is added to `waited`."""
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            self.waited += time.perf_counter() - asked
            yield batch

    def step(self) -> None:
        """Notes that a step has ended now."""
        self.steps += 1
        self.stepped = time.perf_counter()

    @property
    def seconds_of_epoch(self) -> float:
        return time.perf_counter() - self.started

    @property
    def images_per_second(self) -> float:
        if not self.steps:
            return 0.0
        return self.steps * self.images_per_step / max(self.stepped - self.started, 1e-9)

    @property
    def data_share(self) -> float:
        """The part of the epoch's training so far that went into waiting for batches, 0 to 1."""
        return min(1.0, self.waited / max(self.stepped - self.started, 1e-9)) if self.steps else 0.0

    def seconds_left(self, steps: int, evaluations: int) -> float:
        """For so many more steps and evaluations, at the speed of this epoch; 0 where unknown."""
        if not self.steps:
            return 0.0
        a_step = (self.stepped - self.started) / self.steps
        return a_step * steps + self.evaluation_seconds * evaluations
