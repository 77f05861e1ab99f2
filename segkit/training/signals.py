"""What the system asks of a training: to save, or to save and end.

    SIGINT (Ctrl-C), SIGTERM   the state is saved at the next step's boundary, then training ends
                               (130, 143); a second one ends it at once, and saves nothing
    SIGUSR1                    the state is saved at the next step's boundary; training goes on
    SIGHUP                     likewise: a lost terminal is no reason to stop

Before the first step there is nothing to save, and SIGINT and SIGTERM end the command at once.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from segkit.distributed import Group

GO_ON, SAVE = 0, 1  # a request to end is the signal's number, which is larger
ENDING = (signal.SIGINT, signal.SIGTERM)
SAVING = tuple(
    getattr(signal, name) for name in ("SIGHUP", "SIGUSR1") if hasattr(signal, name)
)  # not on Windows


class Signals:
    """What this process was asked for since it was last looked at."""

    def __init__(self) -> None:
        self.ending = 0
        self.saving = False
        self.training = False

    def receive(self, number: int, frame: FrameType | None = None) -> None:
        """The handler: notes the signal, or ends the process where nothing is left to save."""
        if number in SAVING:
            self.saving = True
        elif not self.training:
            end_by(number)
        elif self.ending:
            os._exit(128 + number)
        else:
            self.ending = number

    def take(self) -> int:
        """GO_ON, SAVE or the number of the signal that ends the training."""
        saving, self.saving = self.saving, False
        return self.ending or (SAVE if saving else GO_ON)


@contextmanager
def listening() -> Iterator[Signals]:
    """The signals sent to this process while the block runs, where it runs in the main thread.

    A signal that is ignored, as under nohup, stays ignored.
    """
    signals = Signals()
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (*ENDING, *SAVING):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, signals.receive)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_by(number: int) -> NoReturn:
    """Raises KeyboardInterrupt for SIGINT, and SystemExit with status 128 + number for others."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


class Requests:
    """What all processes together are asked for, step by step, the same in each of them.

    minutes   between checkpoints, at most, by the first process's clock
    """

    def __init__(self, signals: Signals, group: Group, minutes: float) -> None:
        self.signals, self.group, self.seconds = signals, group, minutes * 60
        self.saved()
        self.asked: Callable[[], int] | None = None

    def saved(self) -> None:
        """Notes that a checkpoint was written just now."""
        self.due = time.monotonic() + self.seconds

    def at_step(self) -> int:
        """GO_ON, SAVE, or the number of the signal that ends the training.

        One process answers at once. Of several, each tells the others at one step and hears them at
        the next, so that none waits.
        """
        own = self.signals.take()
        if own == GO_ON and self.group.writes and time.monotonic() >= self.due:
            own = SAVE
            self.saved()
        if self.group.world_size == 1:
            return own
        asked, self.asked = self.asked, self.group.start_maximum(own)
        return asked() if asked else GO_ON

    def at_evaluation(self) -> int:
        """The number of the signal that ends the training, between two images that are scored.

        Of several processes none leaves an evaluation, in which the others would wait for it.
        """
        return self.signals.ending if self.group.world_size == 1 else GO_ON
