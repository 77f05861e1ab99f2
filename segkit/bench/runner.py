"""Runs cases in processes of their own, interleaved in rounds, and makes rows of what they answer.

Workers stay alive through all rounds of their heat, paused on their pipe between turns: building a
network anew for every turn would take most of the time and cool every cache. A heat holds as many
as memory allows, MOST_ALIVE at most. The first case of a heat is measured by two workers, as if it
were two cases: what differs between those twins is noise (A/A).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segkit.bench.conditions import available_bytes
from segkit.bench.interrupts import Interrupts
from segkit.bench.process import WorkerFailed, WorkerProcess
from segkit.bench.records import Case, Ceilings, Method, Row, TwinPair, Twins
from segkit.bench.rows import Entrant, file_name, row_of
from segkit.bench.statistics import ratio_interval
from segkit.bench.watching import Watcher

MOST_ALIVE = 8
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
    trace_folder      where profiles go; None makes none
    memory_bytes      of the device, where its memory is not the machine's
    """

    rounds: int = 5
    round_seconds: float = 1.0
    prepare_timeout: float = 900.0
    most_alive: int = MOST_ALIVE
    twins: bool = True
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
    """Measures cases; `rows` and `twins` are there at any time, also after an interruption."""

    def __init__(
        self,
        settings: Settings,
        watcher: Watcher,
        ceilings: Ceilings | None = None,
        start_worker: Callable[[], WorkerProcess] = WorkerProcess,
    ) -> None:
        self.settings, self.watcher, self.ceilings = settings, watcher, ceilings
        self.start_worker = start_worker
        self.rows: dict[str, Row] = {}
        self.pairs: list[TwinPair] = []
        self.interrupts = Interrupts()
        self._progress = Progress(settings)

    @property
    def twins(self) -> Twins | None:
        return Twins(pairs=tuple(self.pairs)) if self.pairs else None

    def run(self, cases: Sequence[Case]) -> bool:
        """Measures all cases; False where it was interrupted and cases are missing."""
        waiting = list(cases)
        self._progress.start(len(waiting))
        self.watcher.planned(cases)
        try:
            with self.interrupts:
                self._all_heats(waiting)
        except Interrupted:
            for case in cases:
                if case.name not in self.rows:
                    self._add(Row(case=case, status="skipped", reason="the benchmark was ended"))
            return False
        return True

    def _all_heats(self, waiting: list[Case]) -> None:
        while waiting:
            heat = self._fill(waiting)
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

    def _fill(self, waiting: list[Case]) -> list[Entrant]:
        """Prepares workers until the heat is full; takes their cases off the list."""
        heat: list[Entrant] = []
        memory = MEMORY_SHARE * (self.settings.memory_bytes or available_bytes())
        try:
            while waiting and len(heat) < self.settings.most_alive:
                needs = [_needs(entrant) for entrant in heat]
                if needs and sum(needs) + max(needs) > memory:
                    break
                case = waiting[0]
                entrant = self._prepare(case, alone=not heat)
                if entrant == "alone":
                    break  # others hold memory: it has the next heat's first place
                waiting.pop(0)
                if entrant is None:
                    continue
                heat.append(entrant)
                if self.settings.twins and len(heat) == 1:
                    twin = self._prepare(case, alone=False, twin=True)
                    if isinstance(twin, Entrant):
                        heat.append(twin)
        except BaseException:
            for entrant in heat:
                entrant.worker.kill()
            raise
        return heat

    def _prepare(
        self, case: Case, *, alone: bool, twin: bool = False
    ) -> Entrant | Literal["alone"] | None:
        """A prepared worker; None where the case has its row already; "alone": only by itself."""
        worker = self.start_worker()
        request = {"do": "prepare", "case": case.model_dump(), "gate": not twin}
        start = time.monotonic()
        try:
            answer = self._patiently(
                case,
                worker,
                lambda: worker.ask(
                    request,
                    timeout=self.settings.prepare_timeout,
                    stage=lambda name: self._tell(case, name),
                    interrupted=lambda: self.interrupts.pending,
                ),
            )
        except WorkerFailed as error:
            worker.close()
            if twin:
                return None
            if error.status == "oom" and not alone:
                return "alone"
            self._progress.prepared(time.monotonic() - start)
            self._add(Row(case=case, status=error.status, reason=error.reason))  # type: ignore[arg-type]
            return None
        except BaseException:
            worker.kill()
            raise
        if not twin:
            self._progress.prepared(time.monotonic() - start)
        return Entrant(case, worker, dict(answer["found"]), twin)

    def _race(self, heat: list[Entrant]) -> None:
        """The rounds: every worker its turn in each, in an order that moves on by one."""
        for round_number in range(self.settings.rounds):
            for entrant in rotated(heat, round_number):
                if entrant.lost is not None:
                    continue
                self._tell(entrant.case, f"round {round_number + 1} of {self.settings.rounds}")
                start = time.monotonic()
                try:
                    self._turn(entrant)
                except WorkerFailed as error:
                    # A twin has nobody left to be compared with.
                    for other in (each for each in heat if each.case == entrant.case):
                        other.lost = error
                self._progress.turned(time.monotonic() - start)
        for entrant in heat:
            if self.settings.trace_folder and not entrant.twin and entrant.lost is None:
                entrant.files = self._trace(entrant)

    def _turn(self, entrant: Entrant) -> None:
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

    def _trace(self, entrant: Entrant) -> tuple[str, ...]:
        folder = self.settings.trace_folder
        request = {"do": "trace", "folder": str(folder), "name": file_name(entrant.case)}
        try:
            return tuple(entrant.worker.ask(request, timeout=600)["files"])
        except WorkerFailed as error:
            self.watcher.noticed(f"No trace of {entrant.case.name}: {error.reason}.")
            return ()

    def _conclude(self, heat: list[Entrant]) -> None:
        """Rows of a heat, and the A/A pair of its twins."""
        for entrant in heat:
            if not entrant.twin:
                self._add(row_of(entrant, self.ceilings, self.settings.seed))
        alive = {id(e): e.samples() for e in heat if e.lost is None and e.rounds}
        for twin in (e for e in heat if e.twin and id(e) in alive):
            first = next((e for e in heat if e.case == twin.case and not e.twin), None)
            if first is not None and id(first) in alive:
                ratio, low, high = ratio_interval(
                    alive[id(first)]["step"], alive[id(twin)]["step"], self.settings.seed
                )
                self.pairs.append(TwinPair(case=twin.case.name, ratio=ratio, low=low, high=high))

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


class Progress:
    """How far a benchmark is, in time: what is left is reckoned from what cases took so far."""

    def __init__(self, settings: Settings) -> None:
        self.rounds = settings.rounds
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


def rotated(entrants: Sequence[Any], round_number: int) -> list[Any]:
    """The entrants, begun one place later each round: none is always the first."""
    start = round_number % max(len(entrants), 1)
    return [*entrants[start:], *entrants[:start]]


def _needs(entrant: Entrant) -> int:
    memory = entrant.found["memory"]
    return int(memory["peak_bytes"]) + WORKER_BYTES
