"""Runs cases in processes of their own, interleaved in rounds, and makes rows of what they answer.

Workers stay alive through all rounds of their group, paused on their pipe between turns: building a
network anew for every turn would take most of the time and cool every cache. A group holds as many
as memory and time allow, and cases that are held against one another where they fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from segkit.bench.display.watching import Watcher
from segkit.bench.records.case import Case
from segkit.bench.records.controls import ControlPair, Controls
from segkit.bench.records.machine import Ceilings
from segkit.bench.records.row import Row
from segkit.bench.runner.budget import Budget
from segkit.bench.runner.measuring import MeasuredCase, row_of
from segkit.bench.runner.preparing import Preparing
from segkit.bench.runner.process import WorkerProcess
from segkit.bench.runner.reserve import Reserve
from segkit.bench.runner.rounds import FEWEST_ROUNDS, control_pairs, measure_rounds
from segkit.bench.runner.session import Interrupted, Samples, Session
from segkit.bench.runner.settings import Settings

NO_BUDGET = Budget()


class Runner:
    """Measures cases; `rows` and `controls` are there at any time, also after an interruption."""

    def __init__(
        self,
        settings: Settings,
        watcher: Watcher,
        ceilings: Ceilings | None = None,
        start_worker: Callable[[], WorkerProcess] = WorkerProcess,
        budget: Budget = NO_BUDGET,
    ) -> None:
        self.session = Session(settings, watcher, budget)
        self.ceilings = ceilings
        self._reserve = Reserve(start_worker, budget)
        self.pairs: list[ControlPair] = []

    @property
    def rows(self) -> dict[str, Row]:
        """By case name."""
        return self.session.rows

    @property
    def samples(self) -> dict[str, Samples]:
        """The seconds of every step, by case, phase and round."""
        return self.session.samples

    @property
    def controls(self) -> Controls | None:
        """The A/A pairs so far; None without any."""
        return Controls(pairs=tuple(self.pairs)) if self.pairs else None

    def run(self, cases: Sequence[Case], together: Sequence[Sequence[Case]] = ()) -> bool:
        """Measures all cases, as far as the budget lasts; False where it was interrupted.

        together   the cases again, those in a list that are to have their turns in the same rounds
        """
        waiting = [list(each) for each in together] or [[case] for case in cases]
        session = self.session
        session.progress.start(len(cases))
        session.watcher.planned(cases)
        reason, complete = session.budget.reason, True
        try:
            with session.interrupts:
                self._all_groups(waiting)
        except Interrupted:
            reason, complete = "the benchmark was ended", False
        finally:
            self._reserve.close()
        for case in cases:
            if case.name not in session.rows:
                session.add(Row(case=case, status="skipped", reason=reason))
        return complete

    def _all_groups(self, waiting: list[list[Case]]) -> None:
        preparing, groups = Preparing(self.session, self._reserve, waiting), 0
        while waiting and preparing.has_time:
            group = preparing.group()
            groups += 1
            for measured in group:
                measured.group = groups
            # Nothing else is to be at work while times are taken.
            self._reserve.settle()
            try:
                measure_rounds(group, self.session)
            except Interrupted:
                # What had its turn twice has an interval, though a wide one.
                self._conclude([e for e in group if len(e.rounds) >= FEWEST_ROUNDS or e.lost])
                raise
            finally:
                for measured in group:
                    measured.worker.close()
            self._conclude([each for each in group if each.rounds or each.lost])

    def _conclude(self, group: Sequence[MeasuredCase]) -> None:
        """Rows of a group, and its A/A pairs."""
        seed = self.session.settings.seed
        for measured in group:
            if not measured.control:
                self.session.samples[measured.case.name] = measured.samples
                self.session.add(row_of(measured, self.ceilings, seed))
        self.pairs += control_pairs(group, seed)
