"""Whether a training under way ends in the minutes that it has, and how many epochs would."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from statistics import fmean

from segkit.distributed import Group
from segkit.training.loop.loop import Loop
from segkit.training.monitoring.events import Events
from segkit.training.preparation.setup import Setup
from segkit.training.run.run_folder import RunFolder

# Of the minutes: what it may be early or late before the plan is changed.
SLACK = 0.02
# A plan is told again where it has changed by this share since it was told.
NEWS = 0.1
# Epochs, that one slow one is not taken for a slower machine.
REMEMBERED = 8
# The page and the exit take so many times what importing took: 2.8 s after 2.3 s on a core of a
# Xeon. Both are as long as the machine is slow. Else so many seconds.
ENDING, USUAL_ENDING = 1.3, 3.0


@dataclass
class Deadline:
    """When a training is to have ended, and what its epochs take.

    seconds  that it has in all
    at       its end, on time.perf_counter()
    ending   seconds that it needs after the last epoch: pictures, the page
    trained  seconds of steps, of the last epochs
    looked   seconds of evaluating and saving, in the last epoch that did
    told     what asked for it, as it is named to the user
    planned  the number of epochs that was told last; 0: that of the setup
    """

    seconds: float
    at: float
    ending: float
    looked: float = 0.0
    told: str = ""
    planned: int = 0
    trained: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    @classmethod
    def of(cls, minutes: float, begun: float | None) -> Deadline:
        """Of minutes that began with the command, or where that is not known, now."""
        at, ending = _ends(minutes, begun)
        return cls(60 * minutes, at, ending, told=f"--minutes {minutes:g}")

    def left(self, group: Group) -> float:
        """Seconds until the last epoch has to end, in the process that has the fewest."""
        return -_most(group, time.perf_counter() - self.at + self.ending)

    def keep(self, loop: Loop, run: RunFolder | None, events: Events, *, looked: bool) -> None:
        """Changes the number of epochs, and the run's config.yaml, where those planned would end
        early or late.

        looked   whether the epoch just done was evaluated and saved
        """
        clock, setup = loop.clock, loop.setup
        self.trained.append(clock.stepped - clock.started)
        if looked:
            self.looked = time.perf_counter() - clock.stepped
        done, planned = loop.position.epoch, setup.epochs
        epochs = self.epochs(setup, done)
        if epochs == planned:
            return
        loop.replan(epochs)
        self.planned = self.planned or planned
        if abs(epochs - self.planned) > NEWS * self.planned:
            pace = fmean(self.trained) / setup.loader.batches_per_epoch
            told = (
                f"{epochs} epochs in place of {self.planned}, since a step now takes {pace:.2g} s"
            )
            events.decided([("training", told)])
            self.planned = epochs
        if run:
            run.write_config(setup.written_config)

    def epochs(self, setup: Setup, done: int) -> int:
        """How many in all end in time, once `done` of them are: as planned where that is near it.

        All processes give the same answer.
        """
        group = setup.group
        left = self.left(group)
        trained, looked = _most(group, fmean(self.trained)), _most(group, self.looked)
        planned, every = setup.epochs - done, setup.config.evaluate_every or 1

        def taken(epochs: int) -> float:
            looks = (done + epochs - 1) // every - done // every + 1
            return epochs * trained + looks * looked

        if planned <= 0 or abs(taken(planned) - left) <= max(SLACK * self.seconds, trained / 2):
            return setup.epochs
        wanted = int(left / max(trained + looked / every, 1e-3))
        while wanted > 1 and taken(wanted) > left:
            wanted -= 1
        return done + max(wanted, 1)


@dataclass
class SharedTime:
    """Minutes that several trainings have together, one after the other.

    minutes    in all
    at         the end of all, on time.perf_counter()
    ending     seconds that the pages of a training take, and those of all
    gathering  seconds for what is made of all trainings once they have ended
    """

    minutes: float
    at: float
    ending: float
    gathering: float = 0.0

    @classmethod
    def of(cls, minutes: float, begun: float | None) -> SharedTime:
        """Of minutes that began with the command, or where that is not known, now."""
        return cls(minutes, *_ends(minutes, begun))

    def part(self, left: int) -> Deadline:
        """What of the time one of the trainings that are left has, the next one: what was spent
        before is spent for all, so that all are equally long."""
        now = time.perf_counter()
        seconds = max(self.at - now - self.ending - self.gathering, 0.0) / left
        told = f"a training's part of --minutes {self.minutes:g}, {seconds / 60:.2g}"
        return Deadline(seconds, now + seconds, self.ending, told=told)


def _ends(minutes: float, begun: float | None) -> tuple[float, float]:
    """When minutes end that began with the command, and the seconds that its page and exit take."""
    now = time.perf_counter()
    ending = USUAL_ENDING if begun is None else ENDING * (now - begun)
    return (now if begun is None else begun) + 60 * minutes, ending


def _most(group: Group, seconds: float) -> float:
    """The most of any process."""
    return group.start_maximum(round(seconds * 1e6))() / 1e6
