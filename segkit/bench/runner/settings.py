"""How a benchmark measures: rounds, their length, processes, patience."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segkit.bench.records.run import Method

MOST_ALIVE = 16
ORDER = "each round in another order: rotated by one case"


@dataclass(frozen=True)
class Settings:
    """How to measure.

    rounds            in which every case has its turn
    round_seconds     how long a turn lasts, at least
    prepare_timeout   seconds a worker may take until its first turn
    extra_seconds     for which all groups together may have more rounds than asked, where noisy
    most_alive        processes kept at once
    controls          whether some cases are measured twice (A/A)
    seed              of the bootstrap
    trace_folder      where profiles go; None makes none
    memory_bytes      of the device, where its memory is not the machine's
    """

    rounds: int = 5
    round_seconds: float = 1.0
    prepare_timeout: float = 900.0
    extra_seconds: float = 30.0
    most_alive: int = MOST_ALIVE
    controls: bool = True
    seed: int = 0
    trace_folder: Path | None = None
    memory_bytes: int | None = None

    def method(self, minutes: float | None = None) -> Method:
        """As a result records it."""
        return Method(
            rounds=self.rounds,
            round_seconds=self.round_seconds,
            workers_alive=self.most_alive,
            order=ORDER,
            seed=self.seed,
            minutes=minutes,
        )
