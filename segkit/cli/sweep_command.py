"""`segkit sweep`: points to trainings, launched somewhere; one table of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.options.declaring import TorchCommand, say
from segkit.cli.options.train_options import machine, output, settings_options, training
from segkit.cli.running.launching import launcher_options, needs_of, tell
from segkit.cli.running.outlasting import outlasting_output

if TYPE_CHECKING:
    from segkit.sweep.outcomes import Outcome, Summary
    from segkit.sweep.points import Point


@click.command("sweep", cls=TorchCommand)
@training(
    "--grid",
    multiple=True,
    metavar="KEY=V1,V2",
    help="Values of any setting; several make every combination. [default: none]",
)
@training(
    "--points",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A YAML list of points, such as - {lr: 0.001, loss: dice}. [default: none]",
)
@training(
    "--seeds",
    type=click.IntRange(2),
    metavar="N",
    help="Each point with seeds 0 to N-1, for intervals. [default: --seed alone]",
)
@settings_options
@machine(
    "--devices",
    type=click.IntRange(1),
    metavar="N",
    help="Processes of each training, on one machine. [default: 1]",
)
@launcher_options("local")
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="Settings from a YAML file. [default: none]",
)
@click.option(
    "--set",
    "assignments",
    metavar="KEY=VALUE",
    multiple=True,
    help="Any setting that all share. [default: none]",
)
@output("--dry-run", is_flag=True, help="List the points and stop. [default: off]")
def command(
    grid: tuple[str, ...],
    points: Path | None,
    seeds: int | None,
    file: Path | None,
    assignments: tuple[str, ...],
    devices: int | None,
    launcher: str,
    dry_run: bool,
    **given: Any,
) -> None:
    """Train every combination of settings, and compare them in one table.

    \b
    segkit sweep --data DIR --grid lr=1e-3,3e-4 --grid loss=dice,ce --seeds 3
    segkit sweep --data DIR --points points.yaml --out sweeps/losses
    segkit sweep ... --launcher slurm --job-gpus 1 --job-minutes 120

    Other options are those of `segkit train`, for all points alike. The same command again goes on:
    what is finished is not trained again. OUT holds runs/, logs/, results.csv, summary.csv.
    """
    from segkit.launchers.following import built, launcher_of
    from segkit.sweep.sweeping import Sweep

    needs = needs_of(given, devices, launcher)
    options = {key: value for key, value in given.items() if value is not None}
    out = Path(options.pop("out", None) or "sweep").expanduser()
    chosen = _points(grid, points, seeds, file, options, assignments)
    if dry_run:
        for point in chosen:
            say(point.name)
        say(f"{len(chosen)} points.")
        return
    component = launcher_of(launcher)
    sweep = Sweep(out, chosen, needs)
    unfinished = [each for each in sweep.begin() if each.state != "finished"]
    say(f"{len(chosen)} points, {len(chosen) - len(unfinished)} of them finished; in {out}")
    with outlasting_output():
        try:
            if unfinished:
                sweep.train(built(component, out / "launcher"), unfinished, tell)
        finally:
            _show(*sweep.tables(), out)


def _points(
    grid: Sequence[str],
    listed: Path | None,
    seeds: int | None,
    file: Path | None,
    options: dict[str, Any],
    assignments: tuple[str, ...],
) -> list[Point]:
    from segkit.errors import UsageError
    from segkit.sweep.points import grid_of, listed_in, points_of

    if not grid and listed is None and not seeds:
        raise UsageError(
            "SK-L004",
            "the sweep varies nothing.",
            "Add --grid lr=1e-3,3e-4, --points FILE or --seeds 3.",
        )
    if options.get("ignore_index") == "none":
        del options["ignore_index"]
        assignments = ("ignore_index=null", *assignments)
    axes = grid_of(grid)
    if seeds:
        axes.append(("seed", [str(seed) for seed in range(seeds)]))
    points = listed_in(listed) if listed else []
    return points_of(axes, points, file=file, options=options, assignments=assignments)


def _show(outcomes: Sequence[Outcome], means: Sequence[Summary], out: Path) -> None:
    """The table: a row a combination, the best first; of single runs without an interval."""
    from segkit.reporting.tables import aligned
    from segkit.sweep.outcomes import METHOD

    named = next((each.score_name for each in outcomes if each.score_name), "score")
    keys = list(dict.fromkeys(key for each in means for key in each.settings))
    rows = [
        [*(each.settings.get(key) for key in keys), each.runs, each.mean, each.low, each.high]
        for each in means
    ]
    say(aligned(rows, [*keys, "runs", f"mean {named}", "low", "high"]))
    if any(each.low is not None for each in means):
        say(METHOD)
    say("Scores are those of the best epoch on the validation images, which also chose it.")
    states = [each.state for each in outcomes]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    say(f"{counts}. {out / 'results.csv'} has every run.")
