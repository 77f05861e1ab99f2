"""What several workers found, as the one result that a single worker would have written."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path

from segkit.bench.comparison.baselines import with_ratios
from segkit.bench.comparison.statistics import ratio_interval, round_ratios
from segkit.bench.instruments.conditions import load
from segkit.bench.limits.roofline import achieved
from segkit.bench.records.case import Case
from segkit.bench.records.controls import ControlPair, Controls
from segkit.bench.records.machine import Environment
from segkit.bench.records.row import Row
from segkit.bench.records.run import Method, Run
from segkit.bench.runner.budget import Budget
from segkit.bench.runner.survey import higher
from segkit.bench.shared.plan import Beside, Plan, Share, owner
from segkit.errors import UsageError

ORDER = "each case beside one and the same reference case, by whichever worker was idle"


@dataclass(frozen=True)
class Begun:
    """When a benchmark began."""

    moment: datetime
    clock: float

    @classmethod
    def now(cls) -> Begun:
        return cls(datetime.now(UTC), time.monotonic())


def merged(folder: Path, plan: Plan, lost: Mapping[int, str], jobs: int, begun: Begun) -> Run:
    """The result of all workers.

    lost   by worker that did not end well: why, a half-sentence
    Raises UsageError SK-B002 where the workers' hardware differs, SK-B004 where none found any.
    """
    read = (Share.read(folder, worker) for worker in range(1, jobs + 1))
    shares = [share for share in read if share is not None]
    if not shares:
        raise UsageError(
            "SK-B004",
            f"none of the {jobs} workers came to measure a case.",
            f"Their logs in {folder / 'logs'} say why.",
        )
    refuse_unlike(folder, [share.environment for share in shares])
    found = {name: row for share in shares for name, row in share.rows.items()}
    rows = [
        found.get(case.name) or _unmeasured(folder, plan, number, lost)
        for number, case in enumerate(plan.cases)
    ]
    known = [share.ceilings for share in shares if share.ceilings is not None]
    ceilings = reduce(higher, known) if known else None
    beside = {name: each for share in shares for name, each in share.beside.items()}
    controls = controls_of(plan.cases, beside)
    return Run(
        command=plan.command,
        started=begun.moment.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - begun.clock, 1),
        suite=plan.suite,
        about=plan.about,
        environment=shares[0].environment.model_copy(update={"load_after": load()}),
        method=Method(
            rounds=plan.rounds,
            round_seconds=plan.round_seconds,
            workers_alive=2,
            order=ORDER,
            seed=0,
            minutes=plan.minutes,
            jobs=jobs,
        ),
        ceilings=ceilings,
        aa=controls,
        rows=tuple(
            row.model_copy(update={"achieved": achieved(row, ceilings)})
            for row in with_ratios(rows, plan.baselines, controls)
        ),
    )


def controls_of(cases: Sequence[Case], beside: Mapping[str, Beside]) -> Controls | None:
    """The A/A pairs: the reference beside one case, and beside one that is half the table away.

    What two such times differ by, two rows of the table may differ by without a difference: they
    were taken by other workers, or at another time. Each time is in one pair.
    """
    known = [beside[case.name] for case in cases if case.name in beside]
    half = len(known) // 2
    pairs = tuple(
        _pair(cases[0].name, one, other)
        for one, other in zip(known[:half], known[half : 2 * half], strict=True)
    )
    return Controls(pairs=pairs) if pairs else None


def refuse_unlike(folder: Path, environments: Sequence[Environment]) -> None:
    """Raises UsageError SK-B002 where times are of machines that are not alike."""
    kinds = list(dict.fromkeys(each.hardware for each in environments))
    if len(kinds) > 1:
        listed = "".join(f"\n  {each}" for each in kinds)
        raise UsageError(
            "SK-B002",
            f"the workers ran on different hardware, and one table of it would mislead:{listed}",
            f"Have the launcher take machines that are alike; {folder / 'workers'} holds what each "
            "found.",
        )


def _pair(case: str, one: Beside, other: Beside) -> ControlPair:
    ratio, low, high = ratio_interval(one.rounds, other.rounds)
    return ControlPair(
        case=case,
        ratio=ratio,
        low=low,
        high=high,
        rounds=tuple(map(float, round_ratios(one.rounds, other.rounds))),
        memory_bytes=(one.peak_bytes, other.peak_bytes),
    )


def _unmeasured(folder: Path, plan: Plan, number: int, lost: Mapping[int, str]) -> Row:
    """The row of a case that nobody has measured, and why."""
    worker = owner(folder, number)
    case = plan.cases[number]
    if worker is not None and worker in lost:
        reason = f"worker {worker}, which had taken it, {lost[worker]}"
        return Row(case=case, status="crashed", reason=reason)
    reason = Budget.starting(plan.minutes).reason if plan.minutes else "no worker came to it"
    return Row(case=case, status="skipped", reason=reason)
