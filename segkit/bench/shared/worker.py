"""One worker's part of a shared benchmark: a case at a time, until none is left.

Every worker keeps a process of the reference case, the first one, alive: each case has its turns
in the same rounds as that. What the reference's times differ by over cases and workers is what
nobody may call a difference between cases (`segkit.bench.shared.merging`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from segkit.bench.display.watching import Watcher
from segkit.bench.records.case import Case
from segkit.bench.records.machine import Ceilings
from segkit.bench.runner.budget import Budget
from segkit.bench.runner.measuring import MeasuredCase, row_of
from segkit.bench.runner.preparing import Preparing
from segkit.bench.runner.process import WorkerProcess
from segkit.bench.runner.reserve import Reserve
from segkit.bench.runner.rounds import measure_rounds
from segkit.bench.runner.session import Interrupted, Session
from segkit.bench.runner.settings import Settings
from segkit.bench.runner.survey import survey
from segkit.bench.shared.plan import Beside, Plan, Share, take


def join(folder: Path, worker: int, watcher: Watcher) -> Share:
    """Measures cases of the folder's benchmark as its worker number `worker`, until none is left.

    What it found is written after every case; one that is started again keeps what it had found.
    Raises UsageError SK-C012 where there is no benchmark, EnvironmentFault SK-E002.
    """
    plan = Plan.read(folder)
    budget = Budget.starting(plan.minutes)
    precisions = sorted({case.precision for case in plan.cases})
    environment, ceilings = survey(plan.device, precisions, plan.threads, budget)
    watcher.began(environment, ceilings)
    watcher.planned(plan.cases)
    share = Share.read(folder, worker) or Share(environment=environment, ceilings=ceilings)
    settings = Settings(
        rounds=plan.rounds,
        round_seconds=plan.round_seconds,
        prepare_timeout=plan.prepare_timeout,
        most_alive=1,
        controls=False,
        trace_folder=Path(plan.trace_folder) if plan.trace_folder else None,
        memory_bytes=environment.device_memory_bytes,
    )
    session = Session(settings, watcher, budget.before_closing())
    measuring = Measuring(plan.cases, session, ceilings)
    share.write(folder, worker)
    try:
        with session.interrupts:
            while session.budget.left > 0 and (case := take(folder, plan, worker, share.rows)):
                share = measuring.add(case, share)
                share.write(folder, worker)
    except Interrupted:
        watcher.noticed("Ended by hand.")
    finally:
        measuring.close()
    return share


@dataclass
class Measuring:
    """Measures one case after the other, each beside the reference.

    cases   of the whole benchmark: the reference is the first that can be prepared
    """

    cases: tuple[Case, ...]
    session: Session
    ceilings: Ceilings | None
    start_worker: Callable[[], WorkerProcess] = WorkerProcess
    _reserve: Reserve = field(init=False)
    _reference: MeasuredCase | None = None

    def __post_init__(self) -> None:
        self._reserve = Reserve(self.start_worker, self.session.budget)
        self.session.progress.start(len(self.cases))

    def add(self, case: Case, share: Share) -> Share:
        """The share with one case more."""
        reference = self._kept_reference()
        measured = self._prepared(case)
        if measured is None and reference and self.session.rows[case.name].status == "oom":
            # The reference holds memory: by itself the case may fit.
            self.close()
            reference, measured = None, self._prepared(case)
        if measured is None:
            return _with(share, case, self.session)
        measured.group = self.cases.index(case) + 1
        beside = replace(reference, rounds=[], joules=[]) if reference else None
        try:
            measure_rounds([each for each in (measured, beside) if each], self.session)
        finally:
            measured.worker.close()
        self.session.samples[case.name] = measured.samples
        self.session.add(row_of(measured, self.ceilings, self.session.settings.seed))
        if beside and beside.lost is not None:
            self.close()
        return _with(share, case, self.session, beside)

    def close(self) -> None:
        """Ends the processes that are alive."""
        self._reserve.close()
        if self._reference is not None:
            self._reference.worker.close()
            self._reference = None

    def _kept_reference(self) -> MeasuredCase | None:
        """The reference, prepared where it is not alive; None where no case can be."""
        for case in self.cases:
            self._reference = self._reference or self._prepared(case)
            if self._reference is not None:
                break
        return self._reference

    def _prepared(self, case: Case) -> MeasuredCase | None:
        """None where it cannot be: the session has its row."""
        group = Preparing(self.session, self._reserve, [[case]]).group()
        return group[0] if group else None


def _with(share: Share, case: Case, session: Session, beside: MeasuredCase | None = None) -> Share:
    """The share with the session's row of a case, and the reference's times beside it."""
    found: dict[str, object] = {"rows": {**share.rows, case.name: session.rows[case.name]}}
    samples = session.samples.get(case.name, {})
    frozen = {phase: tuple(map(tuple, rounds)) for phase, rounds in samples.items()}
    found["samples"] = {**share.samples, case.name: frozen}
    if beside and beside.lost is None and beside.rounds:
        steps = Beside(
            rounds=tuple(tuple(each["step"]) for each in beside.rounds),
            peak_bytes=beside.found["memory"]["peak_bytes"],
        )
        found["beside"] = {**share.beside, case.name: steps}
    return share.model_copy(update=found)
