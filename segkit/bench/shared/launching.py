"""A benchmark handed to a launcher: as many jobs as asked, and one result of what they find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from segkit.bench.display.watching import Watcher
from segkit.bench.order import Order, planned_cases, threads_of, without_baseline
from segkit.bench.records.run import Run
from segkit.bench.results_folder import make_folder, refuse_nothing, write_results, write_samples
from segkit.bench.shared.merging import Begun, merged
from segkit.bench.shared.plan import Plan, Share
from segkit.bench.suites.grid import Grid, overridden
from segkit.errors import UsageError
from segkit.interfaces import JobNews
from segkit.launchers.following import JobsFailed, built, followed, launcher_of
from segkit.launchers.jobs import Needs, segkit_job


def run_shared(
    order: Order,
    watcher: Watcher,
    folder: Path,
    *,
    launcher: str,
    jobs: int,
    needs: Needs,
    told: Callable[[JobNews], None],
) -> Run:
    """Has `jobs` workers measure the cases, each the next one when it is idle, and merges it all.

    Writes what `run_benchmark` writes. Raises UsageError before anything starts, what the launcher
    refuses, and JobsFailed SK-L003, after all is written, where a worker did not end well.
    """
    begun, component = Begun.now(), launcher_of(launcher)
    grids = overridden(order.suite.grids, order.axes)
    _refuse_fitting(grids, order.suite.name)
    cases, baselines = planned_cases(order, grids, None)
    if unmet := without_baseline(order, cases, baselines):
        watcher.noticed(unmet)
    make_folder(folder)
    settings = order.settings
    plan = Plan(
        command=order.written,
        suite=order.suite.name,
        about=order.suite.about,
        device=order.device,
        cases=cases,
        baselines=baselines,
        rounds=settings.rounds,
        round_seconds=settings.round_seconds,
        prepare_timeout=settings.prepare_timeout,
        minutes=order.budget.minutes,
        threads=threads_of(grids),
        trace_folder=str(settings.trace_folder) if settings.trace_folder else None,
    )
    plan.write(folder)
    jobs = min(jobs, len(cases))
    lines = [
        segkit_job(
            f"worker-{worker}", _words(folder, worker), folder / "logs" / f"{worker}.log", needs
        )
        for worker in range(1, jobs + 1)
    ]
    interrupted, ends = False, list[JobNews]()
    try:
        ends = followed(built(component, folder / "launcher"), lines, told)
    except KeyboardInterrupt:
        # What was found until then is written, as by a benchmark without a launcher.
        interrupted = True
    lost = {lines.index(end.job) + 1: _how(end) for end in ends if end.status != 0}
    run = merged(folder, plan, lost, jobs, begun).model_copy(update={"interrupted": interrupted})
    shares = [Share.read(folder, worker) for worker in range(1, jobs + 1)]
    write_samples({name: each for s in shares if s for name, each in s.samples.items()}, folder)
    write_results(run, folder)
    watcher.finished(run)
    refuse_nothing(run, folder)
    _refuse_lost(folder, lost, ends)
    return run


def _words(folder: Path, worker: int) -> list[str]:
    return ["bench", "join", str(folder.absolute()), "--worker", str(worker)]


def _how(end: JobNews) -> str:
    return f"was lost: {end.reason}" if end.status is None else f"ended with status {end.status}"


def _refuse_lost(folder: Path, lost: Mapping[int, str], ends: Sequence[JobNews]) -> None:
    if lost:
        shown = "; ".join(f"worker {worker} {how}" for worker, how in lost.items())
        status = next(end.status for end in ends if end.status != 0)
        raise JobsFailed(
            f"{len(lost)} of {len(ends)} workers did not end well: {shown}.",
            f"Their logs in {folder / 'logs'} say why; the table says what was not measured.",
            status,
        )


def _refuse_fitting(grids: Sequence[Grid], suite: str) -> None:
    """Raises UsageError SK-C009 where sizes are to fit a machine that is not known yet."""
    if any("auto" in (*grid.size, *grid.batch) for grid in grids):
        raise UsageError(
            "SK-C009",
            f"the suite '{suite}' fits size and batch to one machine, and several may measure it.",
            "Say both: --size 256 --batch 8.",
        )
