"""Checks of a benchmark's contract, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from segkit.testing.conduct import Use, conduct_checks
from segkit.testing.subject import Check, Subject, require

RUNS = 3


def declares_its_unit(subject: Subject) -> None:
    """unit is a word for what one run processes, such as "image".

    Mend: set unit = "image", or what else run() counts.
    """
    unit = getattr(_build(subject), "unit", None)
    require(isinstance(unit, str) and bool(unit.strip()), f"unit is {unit!r}")


def runs_after_set_up(subject: Subject) -> None:
    """After set_up, run() returns how many units it processed: above 0, and the same each time.

    Mend: return the number of units from run(), such as the batch's, and prepare in set_up()
    whatever is not to be measured.
    """
    benchmark = _build(subject)
    benchmark.set_up()
    counts = [benchmark.run() for _ in range(RUNS)]
    whole = all(isinstance(count, int) and count > 0 for count in counts)
    require(whole, f"run() returned {counts}, not how many units it processed")
    require(len(set(counts)) == 1, f"runs of one benchmark processed {counts} units")


@contextmanager
def use(subject: Subject) -> Iterator[Use]:
    """A benchmark in use: set up and run. Drawing random numbers is its own affair."""

    def run(benchmark: Any) -> None:
        benchmark.set_up()
        benchmark.run()

    yield Use(lambda: _build(subject), run, draws=True)


BASIC = runs_after_set_up
CHECKS: tuple[Check, ...] = (
    declares_its_unit,
    runs_after_set_up,
    *conduct_checks(use),
)


def _build(subject: Subject) -> Any:
    return subject.build(device="cpu")
