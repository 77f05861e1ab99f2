"""Runs cases in processes of their own, interleaved in rounds, and makes rows of what they answer.

Workers stay alive through all rounds of their heat, paused on their pipe between turns: building a
network anew for every turn would take most of the time and cool every cache. A heat holds as many
as memory allows, MOST_ALIVE at most, and cases that are held against one another where they fit.

The first case of a heat, and every fifth after it, is measured by two workers, as if it were two
cases: what differs between those controls is noise (A/A). They live alike to the last step, or the
state of the heap would tell them apart, and their turns lie half a round apart, as those of two
cases may. A heat whose controls stray further than BAND_WANTED has more rounds, while time is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segkit.bench.case import Case
from segkit.bench.conditions import available_bytes
from segkit.bench.controls import ControlPair, Controls
from segkit.bench.interrupts import Interrupts
from segkit.bench.machine import Ceilings
from segkit.bench.measuring import MeasuredCase, control_pair, file_name, row_of
from segkit.bench.process import WorkerFailed, WorkerProcess
from segkit.bench.records import Method
from segkit.bench.reserve import Reserve
from segkit.bench.row import Row
from segkit.bench.turns import Progress, arranged, rotated
from segkit.bench.watching import Watcher

MOST_ALIVE = 16
CONTROL_EVERY = 5
# Rows further apart than this should be no tie; rounds are added until it is so, or time is up.
BAND_WANTED = 1.06
MOST_ROUNDS = 3
# Of the memory that is free at the start; above that, the heat is full.
MEMORY_SHARE = 0.6
# A row of a benchmark that was ended by hand has this many rounds at least.
FEWEST_ROUNDS = 2
# A worker's own needs beyond its case: interpreter, torch, its libraries.
WORKER_BYTES = 700 * 2**20
ORDER = "each round in another order: rotated by one case"


@dataclass(frozen=True)
class Settings:
    """How to measure.

    prepare_timeout   seconds a worker may take until its first turn
    extra_seconds     for which all heats together may have more rounds than asked, where noisy
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

    @property
    def method(self) -> Method:
        return Method(
            rounds=self.rounds,
            round_seconds=self.round_seconds,
            workers_alive=self.most_alive,
            order=ORDER,
            seed=self.seed,
        )


class Interrupted(Exception):
    """Ctrl-C twice: end with what there is."""


class Runner:
    """Measures cases; `rows` and `controls` are there at any time, also after an interruption."""

    def __init__(
        self,
        settings: Settings,
        watcher: Watcher,
        ceilings: Ceilings | None = None,
        start_worker: Callable[[], WorkerProcess] = WorkerProcess,
    ) -> None:
        self.settings, self.watcher, self.ceilings = settings, watcher, ceilings
        self._reserve = Reserve(start_worker)
        self._extra_left = settings.extra_seconds
        self.rows: dict[str, Row] = {}
        self.samples: dict[str, dict[str, list[list[float]]]] = {}
        self.pairs: list[ControlPair] = []
        self.interrupts = Interrupts()
        self._progress = Progress(settings.rounds)

    @property
    def controls(self) -> Controls | None:
        return Controls(pairs=tuple(self.pairs)) if self.pairs else None

    def run(self, cases: Sequence[Case], groups: Sequence[Sequence[Case]] = ()) -> bool:
        """Measures all cases; False where it was interrupted and cases are missing.

        groups   the cases again, those together that are to have their turns in the same rounds
        """
        waiting = [list(group) for group in groups] or [[case] for case in cases]
        self._progress.start(len(cases))
        self.watcher.planned(cases)
        try:
            with self.interrupts:
                self._all_heats(waiting)
        except Interrupted:
            for case in cases:
                if case.name not in self.rows:
                    self._add(Row(case=case, status="skipped", reason="the benchmark was ended"))
            return False
        finally:
            self._reserve.close()
        return True

    def _all_heats(self, waiting: list[list[Case]]) -> None:
        heats = 0
        while waiting:
            heat = self._fill(waiting)
            heats += 1
            for entrant in heat:
                entrant.group = heats
            try:
                self._race(heat)
            except Interrupted:
                # What had its turn twice has an interval, though a wide one.
                self._conclude([e for e in heat if len(e.rounds) >= FEWEST_ROUNDS or e.lost])
                raise
            finally:
                for entrant in heat:
                    entrant.worker.close()
            self._conclude(heat)

    def _fill(self, waiting: list[list[Case]]) -> list[MeasuredCase]:
        """Prepares workers until the heat is full; takes their cases off the list."""
        heat: list[MeasuredCase] = []
        memory = MEMORY_SHARE * (self.settings.memory_bytes or available_bytes())
        begun: list[Case] | None = None
        try:
            while waiting and len(heat) < self.settings.most_alive:
                needs = [_needs(entrant) for entrant in heat]
                if needs and sum(needs) + max(needs) > memory:
                    break
                group = waiting[0]
                if heat and group is not begun and not self._has_room(len(heat), len(group)):
                    break
                begun = group
                more = sum(len(each) for each in waiting) > 1
                entrant = self._prepare(group[0], alone=not heat, more=more)
                if entrant == "alone":
                    break  # others hold memory: it has the next heat's first place
                group.pop(0)
                if not group:
                    waiting.pop(0)
                if entrant is not None:
                    heat.append(entrant)
                    self._add_control(heat, more=bool(waiting))
        except BaseException:
            for entrant in heat:
                entrant.worker.kill()
            raise
        return heat

    def _has_room(self, taken: int, wanted: int) -> bool:
        """Whether a group fits beside what is there; one that fits no heat begins anywhere."""
        alive = self.settings.most_alive
        places = wanted + (wanted // CONTROL_EVERY) * self.settings.controls
        return taken + places <= alive or places > alive

    def _add_control(self, heat: list[MeasuredCase], *, more: bool) -> None:
        """A second worker of the case that has just joined, where it is one's turn."""
        firsts = sum(not entrant.control for entrant in heat)
        if not self.settings.controls or firsts % CONTROL_EVERY != 1:
            return
        if len(heat) < self.settings.most_alive:
            control = self._prepare(heat[-1].case, alone=False, control=True, more=more)
            if isinstance(control, MeasuredCase):
                heat.append(control)

    def _prepare(
        self, case: Case, *, alone: bool, more: bool, control: bool = False
    ) -> MeasuredCase | Literal["alone"] | None:
        """A prepared worker; None where the case has its row already; "alone": only by itself.

        more   whether others are to come, one of which may begin to load meanwhile
        """
        worker = self._reserve.take()
        request = {"do": "prepare", "case": case.model_dump()}
        start = time.monotonic()

        def heard(stage: str) -> None:
            self._tell(case, stage)
            if more and not alone and stage == "checking":
                self._reserve.stock()

        try:
            answer = self._patiently(
                case,
                worker,
                lambda: worker.ask(
                    request,
                    timeout=self.settings.prepare_timeout,
                    stage=heard,
                    interrupted=lambda: self.interrupts.pending,
                ),
            )
        except WorkerFailed as error:
            worker.close()
            if control:
                return None
            if error.status == "oom" and not alone:
                return "alone"
            self._progress.prepared(time.monotonic() - start)
            self._add(Row(case=case, status=error.status, reason=error.reason))  # type: ignore[arg-type]
            return None
        except BaseException:
            worker.kill()
            raise
        if not control:
            self._progress.prepared(time.monotonic() - start)
        return MeasuredCase(case, worker, dict(answer["found"]), control)

    def _race(self, heat: list[MeasuredCase]) -> None:
        """The rounds: every worker its turn in each, in an order that moves on by one."""
        order, rounds = arranged(heat), self.settings.rounds
        # Nothing else is to be at work while times are taken.
        self._reserve.settle()
        began = time.monotonic()
        for number in range(MOST_ROUNDS * rounds):
            last, began = time.monotonic() - began, time.monotonic()
            if number > rounds:
                self._extra_left -= last
            # One more takes as long as the last did.
            if number >= rounds and not self._needs_more(heat, last):
                break
            of = f"of {rounds}" if number < rounds else "to quiet the noise"
            for entrant in rotated(order, number):
                if entrant.lost is None:
                    self._tell(entrant.case, f"round {number + 1} {of}")
                    self._take_turn(entrant, heat)
        for entrant in heat:
            if self.settings.trace_folder and not entrant.control and entrant.lost is None:
                entrant.files = self._trace(entrant)

    def _take_turn(self, entrant: MeasuredCase, heat: Sequence[MeasuredCase]) -> None:
        start = time.monotonic()
        try:
            self._turn(entrant)
        except WorkerFailed as error:
            # A control has nobody left to be compared with.
            for other in (each for each in heat if each.case == entrant.case):
                other.lost = error
        self._progress.turned(time.monotonic() - start)

    def _needs_more(self, heat: Sequence[MeasuredCase], seconds: float) -> bool:
        """Whether the heat's controls stray too far yet, and another round's seconds are left."""
        pairs = self._pairs(heat)
        if not pairs or seconds > self._extra_left:
            return False
        return Controls(pairs=tuple(pairs)).band > BAND_WANTED

    def _turn(self, entrant: MeasuredCase) -> None:
        usual = entrant.found.get("usual_step_s", 0.0)
        timeout = 60 + 20 * (self.settings.round_seconds + 3 * usual)
        request = {"do": "turn", "seconds": self.settings.round_seconds}
        answer = self._patiently(
            entrant.case,
            entrant.worker,
            lambda: entrant.worker.ask(
                request, timeout=timeout, interrupted=lambda: self.interrupts.pending
            ),
        )
        entrant.rounds.append(answer["samples"])
        if answer["joules_per_step"] is not None:
            entrant.joules.append(answer["joules_per_step"])

    def _trace(self, entrant: MeasuredCase) -> tuple[str, ...]:
        folder = self.settings.trace_folder
        request = {"do": "trace", "folder": str(folder), "name": file_name(entrant.case)}
        try:
            return tuple(entrant.worker.ask(request, timeout=600)["files"])
        except WorkerFailed as error:
            self.watcher.noticed(f"No trace of {entrant.case.name}: {error.reason}.")
            return ()

    def _conclude(self, heat: list[MeasuredCase]) -> None:
        """Rows of a heat, and the A/A pair of its controls."""
        for entrant in heat:
            if not entrant.control:
                self.samples[entrant.case.name] = entrant.samples
                self._add(row_of(entrant, self.ceilings, self.settings.seed))
        self.pairs += self._pairs(heat)

    def _pairs(self, heat: Sequence[MeasuredCase]) -> list[ControlPair]:
        """The A/A pairs of a heat's controls, of those that live."""
        alive = [each for each in heat if each.lost is None and each.rounds]
        return [
            control_pair(control, first, self.settings.seed)
            for control in alive
            for first in alive
            if control.control and not first.control and first.case == control.case
        ]

    def _patiently(self, case: Case, worker: WorkerProcess, ask: Callable[[], Any]) -> Any:
        """Asks; on Ctrl-C gives up the case, and twice in a row the benchmark."""
        try:
            return ask()
        except KeyboardInterrupt:
            if not self.interrupts.pending:
                self.interrupts.note()
            worker.kill()
            if self.interrupts.heed():
                raise Interrupted from None
            self.watcher.noticed(f"Skipped {case.name}. Ctrl-C again ends the benchmark.")
            raise WorkerFailed("skipped", "skipped by hand") from None

    def _tell(self, case: Case, stage: str) -> None:
        self.watcher.working(case, stage, self._progress.share, self._progress.seconds_left)

    def _add(self, row: Row) -> None:
        self.rows[row.case.name] = row
        self.watcher.finished_row(row)


def _needs(entrant: MeasuredCase) -> int:
    memory = entrant.found["memory"]
    return int(memory["peak_bytes"]) + WORKER_BYTES
