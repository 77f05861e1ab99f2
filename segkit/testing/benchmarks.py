"""Checks of a benchmark's contract, on the CPU."""

from __future__ import annotations

from typing import Any

from segkit.testing.imports import process_state, recorded_connections
from segkit.testing.subject import Check, Subject, require

RUNS = 3
# Drawing random numbers is a benchmark's own affair; the rest would spoil what is measured later.
MAY_CHANGE = "random state"


def declares_its_unit(subject: Subject) -> None:
    """unit is a word for what one run processes, such as "image"."""
    unit = getattr(_build(subject), "unit", None)
    require(isinstance(unit, str) and bool(unit.strip()), f"unit is {unit!r}")


def runs_after_set_up(subject: Subject) -> None:
    """After set_up, run() returns how many units it processed: above 0, and the same each time."""
    benchmark = _build(subject)
    benchmark.set_up()
    counts = [benchmark.run() for _ in range(RUNS)]
    whole = all(isinstance(count, int) and count > 0 for count in counts)
    require(whole, f"run() returned {counts}, not how many units it processed")
    require(len(set(counts)) == 1, f"runs of one benchmark processed {counts} units")


def leaves_the_process_alone(subject: Subject) -> None:
    """Setting up and running leaves dtype, device, gradient mode and threads as they were."""
    before = process_state()
    benchmark = _build(subject)
    benchmark.set_up()
    benchmark.run()
    after = process_state()
    changed = [name for name in before if MAY_CHANGE not in name and after[name] != before[name]]
    require(not changed, f"it changes {', '.join(changed)}")


def opens_no_socket(subject: Subject) -> None:
    """Setting up and running asks for no connection."""
    with recorded_connections() as asked:
        benchmark = _build(subject)
        benchmark.set_up()
        benchmark.run()
    require(not asked, f"it asked for a connection to {', '.join(asked)}")


CHECKS: tuple[Check, ...] = (
    declares_its_unit,
    runs_after_set_up,
    leaves_the_process_alone,
    opens_no_socket,
)


def _build(subject: Subject) -> Any:
    return subject.build(device="cpu")
