"""The rounds of a group: every case has its turn in each, in an order that moves on by one.

A case and its A/A control live alike to the last step, or the state of the heap would tell them
apart, and their turns lie half a round apart, as those of two cases may. A group whose controls
stray further than BAND_WANTED has more rounds, while time is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segkit.bench.records.controls import ControlPair, Controls
from segkit.bench.runner.measuring import MeasuredCase, control_pair, file_name, so_far
from segkit.bench.runner.process import WorkerFailed
from segkit.bench.runner.session import Session

# Rows further apart than this should be no tie; rounds are added until it is so, or time is up.
BAND_WANTED = 1.06
MOST_ROUNDS = 3
# An interval of fewer rounds means nothing.
FEWEST_ROUNDS = 2


def measure_rounds(group: Sequence[MeasuredCase], session: Session) -> None:
    """All rounds of a group, then the traces; ends early where the budget does."""
    order, rounds, clock = arranged(group), session.settings.rounds, session.budget.clock
    began = clock()
    for number in range(MOST_ROUNDS * rounds):
        last, began = clock() - began, clock()
        if number > rounds:
            session.extra_left -= last
        # One more takes as long as the last did.
        if number >= rounds and not _needs_more(group, session, last):
            break
        session.progress.round_begins(max(rounds - number, 1) * len(group))
        of = f"of {rounds}" if number < rounds else "to quiet the noise"
        if not _one_round(rotated(order, number), group, session, f"round {number + 1} {of}"):
            break
    for measured in group:
        if session.settings.trace_folder and not measured.control and measured.lost is None:
            measured.files = _trace(measured, session)


def rotated(order: Sequence[Any], number: int) -> list[Any]:
    """The cases, begun one place later each round: none is always the first."""
    start = number % max(len(order), 1)
    return [*order[start:], *order[:start]]


def arranged(group: Sequence[MeasuredCase]) -> list[MeasuredCase]:
    """The group in the order of its turns: every control half a round away from its case."""
    order = [each for each in group if not each.control]
    for control in (each for each in group if each.control):
        own = next((at for at, each in enumerate(order) if each.case == control.case), 0)
        order.insert((own + len(order) // 2) % len(order) + 1, control)
    return order


def control_pairs(group: Sequence[MeasuredCase], seed: int) -> list[ControlPair]:
    """The A/A pairs of a group: of the cases and controls that had FEWEST_ROUNDS."""
    alive = [each for each in group if each.lost is None and len(each.rounds) >= FEWEST_ROUNDS]
    return [
        control_pair(control, first, seed)
        for control in alive
        for first in alive
        if control.control and not first.control and first.case == control.case
    ]


def _one_round(
    order: Sequence[MeasuredCase], group: Sequence[MeasuredCase], session: Session, stage: str
) -> bool:
    """A turn for every case; False where the budget has no time for one."""
    for measured in order:
        if measured.lost is not None:
            continue
        if measured.expected_turn(session.settings.round_seconds) > session.budget.left:
            # Others may be quicker, and have none yet.
            if measured.rounds:
                return False
            continue
        session.tell(measured.case, stage)
        start = session.budget.clock()
        try:
            _turn(measured, session)
        except WorkerFailed as error:
            # A control has nobody left to be compared with.
            for other in (each for each in group if each.case == measured.case):
                other.lost = error
        seconds = session.budget.clock() - start
        measured.turn_seconds = max(measured.turn_seconds, seconds)
        session.progress.turned(seconds)
        if measured.lost is None and not measured.control:
            session.watcher.preliminary(so_far(measured))
    return True


def _turn(measured: MeasuredCase, session: Session) -> None:
    """One turn; one that the budget cuts off is as if it had not been."""
    usual = measured.found.get("usual_step_s", 0.0)
    seconds = session.settings.round_seconds
    request = {"do": "turn", "seconds": seconds}
    timeout = 60 + 20 * (seconds + 3 * usual)
    try:
        answer = session.ask(measured.case, measured.worker, request, timeout=timeout)
    except WorkerFailed:
        if measured.rounds and not session.budget.left:
            return
        raise
    measured.rounds.append(answer["samples"])
    if answer["joules_per_step"] is not None:
        measured.joules.append(answer["joules_per_step"])


def _needs_more(group: Sequence[MeasuredCase], session: Session, seconds: float) -> bool:
    """Whether the group's controls stray too far yet, and another round's seconds are left."""
    pairs = control_pairs(group, session.settings.seed)
    if not pairs or seconds > min(session.extra_left, session.budget.left):
        return False
    return Controls(pairs=tuple(pairs)).band > BAND_WANTED


def _trace(measured: MeasuredCase, session: Session) -> tuple[str, ...]:
    name = file_name(measured.case)
    request = {"do": "trace", "folder": str(session.settings.trace_folder), "name": name}
    try:
        return tuple(measured.worker.ask(request, timeout=600)["files"])
    except WorkerFailed as error:
        session.watcher.noticed(f"No trace of {measured.case.name}: {error.reason}.")
        return ()
