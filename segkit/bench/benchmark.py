"""A whole benchmark: conditions, ceilings, cases, quality; its record and its files."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from segkit.bench.comparison.baselines import together, with_ratios
from segkit.bench.display.watching import Watcher
from segkit.bench.instruments.conditions import load
from segkit.bench.limits.roofline import achieved
from segkit.bench.order import Order, planned_cases, threads_of, without_baseline
from segkit.bench.records.run import Run
from segkit.bench.results_folder import (
    make_folder,
    refuse_nothing,
    refuse_taken,
    write_results,
    write_samples,
    write_tables,
)
from segkit.bench.runner.runner import Runner
from segkit.bench.runner.short_trainings import with_quality
from segkit.bench.runner.survey import ceilings_again, survey
from segkit.bench.suites.grid import overridden


def run_benchmark(order: Order, watcher: Watcher, folder: Path) -> Run:
    """Measures everything and writes it into the folder.

    There: results.json and .csv, samples.json (seconds of every step), pictures, report.html.

    Raises UsageError SK-C012 where something is there already, and SK-B004 where not one case could
    be measured; the files are there all the same.
    """
    # Before the machine is measured, which takes a while.
    refuse_taken(folder)
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


def _since(moment: float) -> float:
    return round(time.monotonic() - moment, 1)
