"""`segkit train`: options to settings, then the engine, watched."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.main import BEGUN
from segkit.cli.options.declaring import TorchCommand, is_first_process, say
from segkit.cli.options.train_options import machine, output, settings_options
from segkit.cli.running.continuing import run_to_continue
from segkit.cli.running.launching import launcher_options, needs_of
from segkit.cli.running.outlasting import outlasting_output
from segkit.cli.running.repeating import CommandLine, as_a_job, on_devices, refuse_restarts_alone
from segkit.errors import visible

if TYPE_CHECKING:
    from segkit.config import TrainConfig
    from segkit.training.monitoring.events import Events


@click.command("train", cls=TorchCommand)
@settings_options
@machine(
    "--devices",
    type=click.IntRange(1),
    metavar="N",
    help="Processes on this machine, one a GPU. [default: 1]",
)
@machine(
    "--max-restarts",
    type=click.IntRange(0),
    metavar="N",
    help="With --devices: go on by itself where a process is killed. [default: 0]",
)
@launcher_options(None)
@output(
    "--dry-run",
    is_flag=True,
    help="Say what would be done, and what time, memory and disk it takes, by three steps. "
    "[default: off]",
)
@output(
    "--smoke",
    is_flag=True,
    help="Train, save, resume and predict in small, and stop. [default: off]",
)
@click.option(
    "--config", "file", type=click.Path(path_type=Path), help="Settings from a YAML file."
)
@click.option(
    "--set",
    "assignments",
    metavar="KEY=VALUE",
    multiple=True,
    help="Any setting of RUN/config.yaml; may be repeated.",
)
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="RUN", help="Continue a run exactly."
)
@click.option(
    "--resume-or-start",
    "scheduled",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Continue the run, or start it in this very folder.",
)
@click.option(
    "--force",
    is_flag=True,
    help="With --resume: go on though settings, data, threads or torch differ. [default: off]",
)
def command(
    file: Path | None,
    assignments: tuple[str, ...],
    resume: Path | None,
    scheduled: Path | None,
    force: bool,
    dry_run: bool,
    smoke: bool,
    devices: int | None,
    max_restarts: int | None,
    launcher: str | None,
    **given: Any,
) -> None:
    """Train a network on the demo set, or on --data: a folder of images and masks.

    \b
    segkit train --encoder densenet121
    segkit train --encoder densenet121 --data DIR --out runs/street
    segkit train --config runs/street/config.yaml    the same again
    segkit train --resume runs/street                from where it was interrupted
    segkit train --resume-or-start runs/street ...  the same, for schedulers
    segkit train --devices 2 ...                     on two GPUs or CPU processes
    segkit train --launcher slurm --job-gpus 1 ...   as a job of a cluster

    Settings come from the defaults, --config, the options and --set, the later over the earlier;
    RUN/config.yaml explains every one.
    """
    needs = needs_of(given, devices, launcher)
    refuse_restarts_alone(max_restarts, devices)
    line = CommandLine(resume or scheduled, file, given, assignments)
    if launcher:
        _refuse_trials(dry_run or smoke)
        as_a_job(launcher, needs, line)
        return
    if devices and devices > 1:
        sys.exit(on_devices(devices, max_restarts or 0, line))
    options = {key: value for key, value in given.items() if value is not None}
    if options.get("ignore_index") == "none":
        del options["ignore_index"]
        assignments = ("ignore_index=null", *assignments)
    if "minutes" in options and "epochs" in options:
        raise _both_lengths()
    going_on = run_to_continue(resume, scheduled, file, options, assignments, force=force)
    if going_on:
        _resume(*going_on, force=force)
        return
    from segkit.config import layered

    config = layered(file, options | ({"out": str(scheduled)} if scheduled else {}), assignments)
    _begin(config, smoke=smoke, dry_run=dry_run, in_place=scheduled is not None)


def _begin(config: TrainConfig, *, smoke: bool, dry_run: bool, in_place: bool) -> None:
    """A new training, or one that is only tried."""
    if config.size is not None:
        from segkit.bench.limits.fitting import refuse_too_large

        refuse_too_large(config)

    def run(events: Events) -> Path | None:
        from segkit.training.cross_validation import begin

        if smoke:
            from segkit.training.smoke import smoke_test

            events.decided(smoke_test(config))
            return None
        result = begin(config, events, dry_run=dry_run, in_place=in_place, begun=BEGUN)
        return result.folder if result else None

    _watched(run, config.logger)


def _refuse_trials(here: bool) -> None:
    from segkit.errors import UsageError

    if here:
        raise UsageError(
            "SK-C009", "--dry-run and --smoke try this machine.", "Leave --launcher out."
        )


def _both_lengths() -> Exception:
    from segkit.errors import UsageError

    return UsageError(
        "SK-C009",
        "--minutes and --epochs both say how long the training is.",
        "Give one of them.",
    )


def _resume(folder: Path, changes: dict[str, Any], *, force: bool) -> None:
    from segkit.config import read_config
    from segkit.errors import UsageError

    def run(events: Events) -> Path | None:
        from segkit.training.cross_validation import go_on

        return go_on(folder, changes, events, force=force).folder

    try:
        logger = read_config(folder / "config.yaml").logger
    except UsageError:  # which `resume` names, with what to do
        logger = None
    _watched(run, logger)


def _watched(run: Callable[[Events], Path | None], logger: str | None) -> None:
    """Runs a training with a live display on a terminal, and with plain lines elsewhere."""
    with outlasting_output():
        _shown(run, logger)


def _shown(run: Callable[[Events], Path | None], logger: str | None) -> None:
    from segkit.training.monitoring.events import Several
    from segkit.training.monitoring.loggers import Logging, build_loggers
    from segkit.training.monitoring.progress import LiveProgress, PlainProgress

    live = None
    watchers: list[Events] = []
    if sys.stdout.isatty():
        from rich.console import Console

        live = LiveProgress(Console())
        watchers.append(live)
    else:
        watchers.append(
            PlainProgress(say, lambda text: click.secho(visible(text), fg="yellow", err=True))
        )
    logging = Logging({}, watchers[0].warned)
    # Of several processes the first alone is told what happens.
    if logger and is_first_process():
        names = [name.strip() for name in logger.split(",") if name.strip()]
        logging = Logging(build_loggers(names), watchers[0].warned)
    watchers.append(logging)
    try:
        _naming_what_fits(run, Several(*watchers))
    finally:
        logging.close()
        if live is not None:
            live.close()


def _naming_what_fits(run: Callable[[Events], Path | None], events: Events) -> None:
    """Runs a training; where its memory ends, the error says with which options it would not."""
    from segkit.training.loop.memory_of_step import StepTooLarge

    try:
        run(events)
    except StepTooLarge as error:
        from segkit.bench.limits.fitting import what_fits

        error.fix = what_fits(error.step) or error.fix
        raise
