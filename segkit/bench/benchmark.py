"""A whole benchmark: conditions, ceilings, cases, quality; its record and its files."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segkit.bench.comparison.baselines import Baseline, baselines_of, together, with_ratios
from segkit.bench.display.watching import Watcher
from segkit.bench.instruments.conditions import load
from segkit.bench.limits.roofline import achieved
from segkit.bench.records.case import Case
from segkit.bench.records.compact_json import compact
from segkit.bench.records.flat_table import write_csv
from segkit.bench.records.machine import Ceilings
from segkit.bench.records.row import Row
from segkit.bench.records.run import Run
from segkit.bench.runner.budget import Budget
from segkit.bench.runner.runner import NO_BUDGET, Runner
from segkit.bench.runner.settings import Settings
from segkit.bench.runner.short_trainings import QualitySettings, with_quality
from segkit.bench.runner.survey import ceilings_again, survey
from segkit.bench.suites.grid import Grid, cases_of, overridden
from segkit.bench.suites.suite import Suite
from segkit.errors import PluginError, StorageError, UsageError
from segkit.registry.index import Index

FAULT = "SK-P007"


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


def run_benchmark(order: Order, watcher: Watcher, folder: Path) -> Run:
    """Measures everything and writes it into the folder.

    There: results.json and .csv, samples.json (seconds of every step), pictures, report.html.

    Raises UsageError SK-B004 where not one case could be measured; the files are there all the
    same.
    """
    started, clock, budget = datetime.now(UTC), time.monotonic(), order.budget
    grids = overridden(order.suite.grids, order.axes)
    precisions = sorted({precision for grid in grids for precision in grid.precision})
    threads = threads_of(grids)
    asked = precisions if order.ceilings else ()
    environment, ceilings = survey(order.device, asked, threads, budget)
    watcher.began(environment, ceilings)
    cases, baselines = planned_cases(order, grids, ceilings)
    if unmet := without_baseline(order, cases, baselines):
        watcher.noticed(unmet)
    make_folder(folder)
    settings = replace(order.settings, memory_bytes=environment.device_memory_bytes)
    runner = Runner(settings, watcher, ceilings, budget=budget.before_closing())
    by_name = {case.name: case for case in cases}
    groups = together(list(by_name), baselines)
    complete = runner.run(cases, [[by_name[name] for name in group] for group in groups])
    write_samples(runner.samples, folder)
    # Within a budget, the time is the cases'.
    if complete and budget.minutes is None:
        ceilings = ceilings_again(order.device, ceilings)
    rows = with_ratios([runner.rows[case.name] for case in cases], baselines, runner.controls)
    run = Run(
        command=order.written,
        started=started.isoformat(timespec="seconds"),
        seconds=_since(clock),
        suite=order.suite.name,
        about=order.suite.about,
        environment=environment.model_copy(update={"load_after": load()}),
        method=order.settings.method(budget.minutes),
        ceilings=ceilings,
        aa=runner.controls,
        rows=tuple(row.model_copy(update={"achieved": achieved(row, ceilings)}) for row in rows),
        interrupted=not complete,
    )
    if order.quality is not None and complete:
        # Trainings take long; what was measured is safe before them.
        write_tables(run, folder)
        scored = with_quality(run.rows, order.quality, watcher, folder)
        run = run.model_copy(update={"rows": tuple(scored), "seconds": _since(clock)})
    write_results(run, folder)
    watcher.finished(run)
    refuse_nothing(run, folder)
    return run


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


def write_results(run: Run, folder: Path) -> None:
    """results.json, results.csv, pictures and report.html; the results first, whatever follows."""
    from segkit.bench.pages.result import write_report

    write_tables(run, folder)
    with _storage_errors(folder):
        write_report(run, folder)


def write_tables(run: Run, folder: Path) -> None:
    """results.json and results.csv."""
    with _storage_errors(folder):
        (folder / "results.json").write_text(run.to_json(), encoding="utf-8")
        write_csv(run, folder / "results.csv")


def write_samples(samples: Mapping[str, Any], folder: Path) -> None:
    """samples.json: the seconds of every step, by case, phase and round."""
    with _storage_errors(folder):
        (folder / "samples.json").write_text(compact(samples) + "\n", encoding="utf-8")


@contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            "SK-S002", f"the results cannot be written to {folder} ({error}).", "Use another --out."
        ) from error


def make_folder(folder: Path) -> None:
    """A new folder, or an empty one; raises UsageError SK-C012, StorageError SK-S002."""
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError("SK-C012", f"{folder} is not empty.", "Give another folder with --out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            "SK-S002", f"the folder {folder} cannot be made ({error}).", "Use another --out."
        ) from error


def refuse_nothing(run: Run, folder: Path) -> None:
    """Raises UsageError SK-B004 where no row was measured, PluginError where plugins failed."""
    if any(row.status == "ok" for row in run.rows) or run.interrupted:
        return
    first: Row = run.rows[0]
    if all(row.reason.startswith(FAULT) for row in run.rows):
        what = first.reason.removeprefix(f"{FAULT}: ")
        raise PluginError(
            FAULT, what, f"Please report it to its authors; see {folder / 'results.csv'} too."
        )
    raise UsageError(
        "SK-B004",
        f"none of the {len(run.rows)} cases could be measured; the first, {first.case.name}: "
        f"{first.status} ({first.reason}).",
        f"{folder / 'results.csv'} says why for each.",
    )


def _since(moment: float) -> float:
    return round(time.monotonic() - moment, 1)
