"""The minutes that a benchmark may take, and how far it is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

# Kept of the minutes for what comes after the last turn: intervals, pictures, the page.
CLOSING_SECONDS, CLOSING_SHARE = 15.0, 0.1


@dataclass(frozen=True)
class Budget:
    """Time until a deadline; without one there is always more.

    minutes    of the whole benchmark; None: no limit
    deadline   by `clock`, seconds
    """

    minutes: float | None = None
    deadline: float = math.inf
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def starting(cls, minutes: float | None, clock: Callable[[], float] = time.monotonic) -> Budget:
        """A budget that starts now."""
        return cls(minutes, math.inf if minutes is None else clock() + 60 * minutes, clock)

    @property
    def left(self) -> float:
        """Seconds until the deadline, never below 0; infinite without a limit."""
        return max(self.deadline - self.clock(), 0.0)

    def less(self, seconds: float) -> Budget:
        """The same budget with its deadline so much earlier."""
        return replace(self, deadline=self.deadline - seconds)

    def before_closing(self) -> Budget:
        """The same budget, less what the end of a benchmark needs."""
        if self.minutes is None:
            return self
        closing = min(CLOSING_SECONDS, CLOSING_SHARE * 60 * self.minutes)
        return self.less(closing)

    @property
    def reason(self) -> str:
        """Why something was not measured where the time is over."""
        minutes = self.minutes or 0.0
        word = "minute was" if minutes == 1 else "minutes were"
        return f"the {minutes:g} {word} up; --minutes {math.ceil(2 * minutes)} measures more"


class Progress:
    """How far a benchmark is: the share of its time, which never falls, and the seconds left.

    What is left is reckoned from what cases and turns took so far, and is no more than the budget.
    """

    def __init__(self, rounds: int, round_seconds: float, budget: Budget) -> None:
        self.rounds, self.budget, self.clock = rounds, budget, budget.clock
        self._turn_guess = 2 * round_seconds
        self.start(0)

    def start(self, cases: int) -> None:
        """So many cases are to be prepared and measured."""
        self.cases_left, self.begun, self._share = cases, self.clock(), 0.0
        self.turns_left = 0
        self._preparing: list[float] = []
        self._turning: list[float] = []

    def prepared(self, seconds: float, *, turns: int) -> None:
        """A case took so long to prepare, or to fail; so many turns of it are to come."""
        self._preparing.append(seconds)
        self.cases_left = max(self.cases_left - 1, 0)
        self.turns_left += turns

    def round_begins(self, turns_left: int) -> None:
        """So many turns of the present group are left."""
        self.turns_left = turns_left

    def turned(self, seconds: float) -> None:
        """A turn took so long."""
        self._turning.append(seconds)
        self.turns_left = max(self.turns_left - 1, 0)

    @property
    def usual_preparing(self) -> float:
        """Seconds to prepare a case, the mean so far; 0 before the first."""
        return sum(self._preparing) / len(self._preparing) if self._preparing else 0.0

    @property
    def seconds_left(self) -> float | None:
        """None until the first case is prepared, unless a budget tells."""
        if not self._preparing:
            return self.budget.left if self.budget.minutes else None
        turning = self._turning or [self._turn_guess]
        turn = sum(turning) / len(turning)
        turns = self.turns_left + self.rounds * self.cases_left
        return min(self.usual_preparing * self.cases_left + turn * turns, self.budget.left)

    @property
    def share(self) -> float:
        """0 to 0.99: it is done when it is said to be done, and not before."""
        left = self.seconds_left
        passed = self.clock() - self.begun
        if left is not None and passed + left > 0:
            self._share = max(self._share, min(passed / (passed + left), 0.99))
        return self._share
