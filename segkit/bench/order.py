"""What is to be benchmarked, and the cases that it comes to."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segkit.bench.comparison.baselines import Baseline, baselines_of
from segkit.bench.records.case import Case
from segkit.bench.records.machine import Ceilings
from segkit.bench.runner.budget import Budget
from segkit.bench.runner.runner import NO_BUDGET
from segkit.bench.runner.settings import Settings
from segkit.bench.runner.short_trainings import QualitySettings
from segkit.bench.suites.grid import Grid, cases_of
from segkit.bench.suites.suite import Suite
from segkit.errors import UsageError
from segkit.registry.index import Index


@dataclass(frozen=True)
class Order:
    """What is to be benchmarked.

    axes      values that replace those of every grid, by axis
    quality   how each case is trained briefly; None leaves it out
    ceilings  whether the machine's ceilings are measured first
    baseline  the case that all others are held against, in place of the suite's own
    budget    the time that all but the quality may take
    """

    suite: Suite
    device: str = "cpu"
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    quality: QualitySettings | None = None
    ceilings: bool = True
    command: str = ""
    baseline: str | None = None
    budget: Budget = NO_BUDGET

    @property
    def written(self) -> str:
        """The command line that repeats it."""
        return self.command or " ".join(["segkit", *map(shlex.quote, sys.argv[1:])])


def planned_cases(
    order: Order, grids: Sequence[Grid], ceilings: Ceilings | None
) -> tuple[tuple[Case, ...], dict[str, str]]:
    """Every case of the grids once, and the name of each one's baseline, where it has one.

    Raises UsageError SK-B004 where there is no case, or where what the suite needs is missing.
    """
    index = Index.of_installed()
    flops = ceilings.flops("fp32") if ceilings else None
    cases: dict[str, Case] = {}
    wanted: dict[str, Baseline] = {}
    for grid in grids:
        for case in cases_of(grid, device=order.device, flops=flops, index=index):
            cases.setdefault(case.name, case)
            written = order.baseline or grid.baseline or order.suite.baseline
            if written is not None:
                wanted.setdefault(case.name, written)
    if not cases:
        raise UsageError(
            "SK-B004",
            f"the suite '{order.suite.name}' holds no case that the installed plugins offer.",
            "`segkit list` shows what is installed.",
        )
    if order.suite.needs:
        refuse_missing(order.suite, cases.values(), index)
    return tuple(cases.values()), baselines_of(cases, wanted)


def refuse_missing(suite: Suite, cases: Iterable[Case], index: Index) -> None:
    """Raises UsageError SK-B004 where a benchmark is not installed and the suite says how it is."""
    installed = {entry.name for entry in index.of_kind("benchmarks")}
    families = {(case.benchmark or "").partition("(")[0].partition("/")[0] for case in cases}
    if missing := sorted(families - installed - {""}):
        raise UsageError(
            "SK-B004",
            f"the suite '{suite.name}' measures {', '.join(missing)}, which is not installed.",
            f"From a checkout of segkit: {suite.needs}",
        )


def without_baseline(order: Order, cases: Sequence[Case], baselines: Mapping[str, str]) -> str:
    """What to say where a baseline is wanted and fits no case.

    Raises UsageError SK-C009 where it was wanted by hand.
    """
    own = [grid.baseline for grid in order.suite.grids]
    written = next(filter(None, [order.baseline, order.suite.baseline, *own]), None)
    if baselines or written is None:
        return ""
    if order.baseline:
        raise UsageError(
            "SK-C009",
            f"the baseline '{order.baseline}' is none of the {len(cases)} cases.",
            "Give a case's name, or that of one of its components; --dry-run lists the cases.",
        )
    return f"No ratios: the suite's baseline {written} is not among these cases."


def threads_of(grids: Sequence[Grid]) -> int | None:
    """The threads of all cases, where they have the same; None is torch's own choice."""
    found = {threads for grid in grids for threads in grid.threads or (None,)}
    return found.pop() if len(found) == 1 else None
