"""In which order the workers of a heat have their turns, and how far a benchmark is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from segkit.bench.measuring import MeasuredCase


def rotated(entrants: Sequence[Any], round_number: int) -> list[Any]:
    """The entrants, begun one place later each round: none is always the first."""
    start = round_number % max(len(entrants), 1)
    return [*entrants[start:], *entrants[:start]]


def arranged(heat: Sequence[MeasuredCase]) -> list[MeasuredCase]:
    """The heat in the order of its turns: every control half a round away from its like."""
    order = [entrant for entrant in heat if not entrant.control]
    for control in (entrant for entrant in heat if entrant.control):
        like = next((at for at, each in enumerate(order) if each.case == control.case), 0)
        order.insert((like + len(order) // 2) % len(order) + 1, control)
    return order


class Progress:
    """How far a benchmark is, in time: what is left is reckoned from what cases took so far."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.start(0)

    def start(self, cases: int) -> None:
        self.cases, self.begun = cases, time.monotonic()
        self.preparing: list[float] = []
        self.turning: list[float] = []

    def prepared(self, seconds: float) -> None:
        self.preparing.append(seconds)

    def turned(self, seconds: float) -> None:
        self.turning.append(seconds)

    @property
    def seconds_left(self) -> float | None:
        """None until the first case is prepared."""
        if not self.preparing:
            return None
        each = sum(self.preparing) / len(self.preparing)
        turn = sum(self.turning) / len(self.turning) if self.turning else 1.0
        turns = max(self.cases * self.rounds - len(self.turning), 0)
        return each * max(self.cases - len(self.preparing), 0) + turn * turns

    @property
    def share(self) -> float:
        left = self.seconds_left
        if left is None:
            return 0.0
        passed = time.monotonic() - self.begun
        return passed / max(passed + left, 1e-9)
