"""The learning rate of a step: a linear warm-up, then down to nothing by one of two shapes.

A function of the step and of the plans alone, so that a resumed training needs no state for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from segkit.errors import UsageError

# The share of the highest rate, by the share of the steps after the warm-up that is done.
# cosine: Loshchilov and Hutter 2017 (arXiv:1608.03983), without restarts; poly: the power 0.9 of
# Chen et al. 2018 (arXiv:1606.00915), which nnU-Net trains by too.
SHAPES: Mapping[str, Callable[[float], float]] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "poly": lambda done: (1 - done) ** 0.9,
}


@dataclass(frozen=True)
class Plan:
    """A number of epochs (or steps) that was meant to be the whole training, and until when."""

    total: int
    until: int


@dataclass(frozen=True)
class Schedule:
    """Shares of the highest learning rate, 0 to 1.

    total     steps of the whole training, as it is planned now
    warmup    share of all steps in which the rate rises
    shape     one of SHAPES
    earlier   plans, in steps, that a later one has taken the place of, oldest first: from there on
              the way that was left is gone in as many steps as the later one left for it
    """

    total: int
    warmup: float = 0.0
    shape: str = "cosine"
    earlier: Sequence[Plan] = ()

    def share(self, step: int) -> float:
        """At `step`, from 0 to total - 1."""
        whole = self.earlier[0].total if self.earlier else self.total
        rising = round(self.warmup * whole)
        place = self._place(step, whole)
        if place < rising:
            return (place + 1) / (rising + 1)
        return SHAPES[self.shape](min(1.0, (place - rising) / max(whole - rising, 1)))

    def _place(self, step: int, whole: int) -> float:
        """Where the step lies on the first plan's way."""
        place, begun = 0.0, 0
        for plan in self.earlier:
            if step < plan.until:
                return place + (step - begun) * (whole - place) / (plan.total - begun)
            place += (plan.until - begun) * (whole - place) / max(plan.total - begun, 1)
            begun = plan.until
        return place + (step - begun) * (whole - place) / max(self.total - begun, 1)


def read_plans(written: str | None) -> tuple[Plan, ...]:
    """Epochs, as "24 until 7, 20 until 12" has them; raises UsageError SK-C009."""
    plans = []
    for text in (written or "").split(","):
        total, word, until = (*text.split(), "", "", "")[:3]
        if not text.strip():
            continue
        if word != "until" or not (total.isdecimal() and until.isdecimal()):
            raise _unreadable(str(written))
        plans.append(Plan(int(total), int(until)))
    places = [each.until for each in plans]
    if places != sorted(set(places)) or any(each.total < each.until for each in plans):
        raise _unreadable(str(written))
    return tuple(plans)


def written_plans(plans: Sequence[Plan]) -> str | None:
    """As `read_plans` reads them; None of none."""
    return ", ".join(f"{each.total} until {each.until}" for each in plans) or None


def _unreadable(written: str) -> UsageError:
    return UsageError(
        "SK-C009",
        f"earlier_plans cannot be '{written}'.",
        "It is as a run with --minutes wrote it, '24 until 7, 20 until 12': epochs in all, and the "
        "epoch until which that was the plan. Put it back, or take it out to train without it.",
    )
