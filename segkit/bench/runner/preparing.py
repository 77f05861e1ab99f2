"""Fills a group: cases prepared by workers of their own, as many as memory and time allow.

The first case of a group, and every fifth after it, is prepared twice, as if it were two cases:
what differs between these A/A controls is noise.
"""

from __future__ import annotations

from typing import Literal

from segkit.bench.instruments.conditions import available_bytes
from segkit.bench.records.case import Case
from segkit.bench.records.row import Row
from segkit.bench.runner.budget import Budget
from segkit.bench.runner.measuring import MeasuredCase, so_far
from segkit.bench.runner.process import WorkerFailed
from segkit.bench.runner.reserve import Reserve
from segkit.bench.runner.session import Session

CONTROL_EVERY = 5
# Of the memory that is free at the start; above that, the group is full.
MEMORY_SHARE = 0.6
# Rounds for which time is kept while cases are prepared, where the budget is not enough for all.
ROUNDS_KEPT = 4
# A worker's own needs beyond its case: interpreter, torch, its libraries.
WORKER_BYTES = 700 * 2**20


class Preparing:
    """Takes cases off the list of those that wait.

    waiting   lists of cases; those of one list are to have their turns in the same rounds
    """

    def __init__(self, session: Session, reserve: Reserve, waiting: list[list[Case]]) -> None:
        self.session, self.reserve, self.waiting = session, reserve, waiting

    @property
    def has_time(self) -> bool:
        """Whether another group can be prepared and still have its rounds."""
        return self._budget([]).left > self.session.progress.usual_preparing

    def group(self) -> list[MeasuredCase]:
        """The next group, prepared."""
        settings = self.session.settings
        group: list[MeasuredCase] = []
        memory = MEMORY_SHARE * (settings.memory_bytes or available_bytes())
        begun: list[Case] | None = None
        tried = False
        try:
            while self.waiting and len(group) < settings.most_alive:
                needs = [_needs(each) for each in group]
                if needs and sum(needs) + max(needs) > memory:
                    break
                self.budget = self._budget(group)
                if tried and self.budget.left < self.session.progress.usual_preparing:
                    break
                together = self.waiting[0]
                if group and together is not begun and not self._has_room(len(group), together):
                    break
                begun, tried = together, True
                prepared = self._prepare(together[0], alone=not group)
                if prepared == "alone":
                    break  # others hold memory: it has the next group's first place
                together.pop(0)
                if not together:
                    self.waiting.pop(0)
                if prepared is not None:
                    group.append(prepared)
                    self._add_control(group)
        except BaseException:
            for each in group:
                each.worker.kill()
            raise
        return group

    def _budget(self, group: list[MeasuredCase]) -> Budget:
        """The time for preparing one more case: what these and that one need for rounds is kept."""
        round_seconds = self.session.settings.round_seconds
        turns = [each.expected_turn(round_seconds) for each in group]
        another = max(turns, default=2 * round_seconds)
        return self.session.budget.less(ROUNDS_KEPT * (sum(turns) + another))

    def _has_room(self, taken: int, together: list[Case]) -> bool:
        """Whether cases fit beside what is there; those that fit no group begin anywhere."""
        settings, wanted = self.session.settings, len(together)
        places = wanted + (wanted // CONTROL_EVERY) * settings.controls
        return taken + places <= settings.most_alive or places > settings.most_alive

    def _add_control(self, group: list[MeasuredCase]) -> None:
        """A second worker of the case that has just joined, where it is that one's turn."""
        settings = self.session.settings
        full = len(group) >= settings.most_alive
        firsts = sum(not each.control for each in group)
        if full or not settings.controls or firsts % CONTROL_EVERY != 1:
            return
        # No case is left out for the sake of a control.
        if self.budget.left < self.session.progress.usual_preparing * (self._cases_left + 1):
            return
        control = self._prepare(group[-1].case, alone=False, control=True)
        if isinstance(control, MeasuredCase):
            group.append(control)

    @property
    def _cases_left(self) -> int:
        return sum(len(together) for together in self.waiting)

    def _prepare(
        self, case: Case, *, alone: bool, control: bool = False
    ) -> MeasuredCase | Literal["alone"] | None:
        """A prepared case; None where it has its row already; "alone": only by itself."""
        session, worker = self.session, self.reserve.take()
        start = session.budget.clock()
        others = self._cases_left - (not control)

        def heard(stage: str) -> None:
            session.tell(case, stage)
            # One that is to come may begin to load meanwhile.
            if others and not alone and stage == "checking":
                self.reserve.stock()

        try:
            answer = session.ask(
                case,
                worker,
                {"do": "prepare", "case": case.model_dump()},
                timeout=session.settings.prepare_timeout,
                budget=self.budget,
                stage=heard,
            )
        except WorkerFailed as error:
            worker.close()
            if not control and error.status == "oom" and not alone:
                return "alone"
            if not control:
                self._took(start, turns=0)
                session.add(Row(case=case, status=error.status, reason=error.reason))  # type: ignore[arg-type]
            return None
        except BaseException:
            worker.kill()
            raise
        measured = MeasuredCase(case, worker, dict(answer["found"]), control)
        if not control:
            self._took(start, turns=session.settings.rounds)
            session.watcher.preliminary(so_far(measured))
        return measured

    def _took(self, start: float, *, turns: int) -> None:
        self.session.progress.prepared(self.session.budget.clock() - start, turns=turns)


def _needs(measured: MeasuredCase) -> int:
    memory = measured.found["memory"]
    return int(memory["peak_bytes"]) + WORKER_BYTES
