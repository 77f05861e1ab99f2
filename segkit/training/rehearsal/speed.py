"""How many steps of a training fit its minutes, by the side of the crops: found by real steps."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import replace

from segkit.training.loop.learner import Learner
from segkit.training.preparation.setup import Setup, changed, loader_of

# The first two wake the device and its libraries, and are not counted: with crops of 192 pixels and
# bf16 on a core of a Xeon they took 1.08 and 0.73 s, and the next ones 0.47 to 0.61 s.
WAKING, COUNTED = 2, 2
# Of the time that there is for steps: what measuring them may take, for each stride.
SHARE = 0.04
# A step grows faster than its crops' area, since larger ones get a deeper network: by the power of
# their side 2.4 to 2.8 from 192 to 256 pixels, as measured on isbi2012, drive and camvid.
POWER = 2.5


class MeasuredSpeed:
    """The recipe's networks at work on this machine, each with its crops.

    setup     of the training, with a recipe
    seconds   that there are for steps
    measured  seconds of a step, by the network's stride and the side of the crops
    spent     seconds that measuring has taken, by the stride

    Where another measurement would take more than SHARE of the time, a step is estimated from the
    last one measured.
    """

    def __init__(self, setup: Setup, seconds: float) -> None:
        self.setup, self.seconds = setup, seconds
        self.measured: dict[int, dict[int, float]] = defaultdict(dict)
        self.spent: dict[int, float] = defaultdict(float)
        self.last = 0.0

    def steps(self, size: int, stride: int = 1) -> int:
        """With crops of this side, the same in all processes."""
        measured = self.measured[stride]
        if size not in measured:
            known = max(measured, default=0)
            growth = (size / known) ** POWER if known else 1.0
            if known and self.spent[stride] + growth * self.last > SHARE * self.seconds:
                measured[size] = growth * measured[known]
            else:
                measured[size], self.last = self._measured(size, stride)
                self.spent[stride] += self.last
        return int(self.seconds / max(measured[size], 1e-4))

    def _measured(self, size: int, stride: int) -> tuple[float, float]:
        """Seconds of a step, and of finding them, in the slowest process."""
        began = time.perf_counter()
        seconds = self._seconds_of_step(size, stride)
        taken = round((time.perf_counter() - began) * 1e6)
        return seconds, self.setup.group.start_maximum(taken)() / 1e6

    def _seconds_of_step(self, size: int, stride: int) -> float:
        recipe = self.setup.recipe
        changes = recipe.decide(size=size, stride=stride)[0] if recipe else {"size": size}
        setup = changed(self.setup, changes)
        alone = setup.config.model_copy(update={"workers": 0})
        batch = next(iter(loader_of(alone, setup.data, setup.group).epoch(0)))
        learner = Learner(replace(setup, config=alone))
        learner.start_epoch(0)
        taken = []
        for number in range(WAKING + COUNTED):
            began = time.perf_counter()
            float(learner.step(batch, number).loss)
            taken.append(time.perf_counter() - began)
        least = round(min(taken[WAKING:]) * 1e6)
        return setup.group.start_maximum(least)() / 1e6
