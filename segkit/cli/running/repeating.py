"""`segkit train` again: as a job that a launcher runs, or in several processes on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.cli.options.declaring import say
from segkit.cli.running.launching import LAUNCHING, as_typed, tell, without

if TYPE_CHECKING:
    from segkit.launchers.jobs import Needs

RESTARTS = ("--devices", "--max-restarts")


@dataclass(frozen=True)
class CommandLine:
    """What `segkit train` was given.

    run   of --resume or --resume-or-start; None where a new one begins
    """

    run: Path | None
    file: Path | None
    settings: dict[str, Any]
    assignments: tuple[str, ...]

    def restartable(self, words: Sequence[str]) -> tuple[Path, list[str]]:
        """The run, and words that start it and, when they are given again, go on with it."""
        if self.run is not None:
            return self.run, list(words)
        from segkit.config import layered
        from segkit.training.preparation.decisions import run_name

        settings = {key: value for key, value in self.settings.items() if value is not None}
        assignments = self.assignments
        if settings.get("ignore_index") == "none":
            del settings["ignore_index"]
            assignments = ("ignore_index=null", *assignments)
        config = layered(self.file, settings, assignments)
        run = _new_folder(Path(config.out or run_name(config)).expanduser())
        return run, [*without(words, ["--out"]), "--resume-or-start", str(run)]


def as_a_job(launcher: str, needs: Needs, line: CommandLine) -> None:
    """Follows the job to its end, or leaves it where it outlives this process.

    Raises JobsFailed SK-L003, with the training's own status, where it does not end well.
    """
    from segkit.launchers.following import JobsFailed, built, followed, handed_over, launcher_of
    from segkit.launchers.jobs import segkit_job

    run, words = line.restartable(without(as_typed(), LAUNCHING))
    place = run.with_name(f"{run.name}.launch")
    job = segkit_job(run.name, words, place / "log.txt", needs)
    chosen = built(launcher_of(launcher), place)
    say(f"run   {run}\nlog   {job.log}")
    if chosen.outlives:
        [launched] = handed_over(chosen, [job])
        tell(launched)
        return
    [end] = followed(chosen, [job], tell)
    if end.status != 0:
        how = f"was lost: {end.reason}" if end.status is None else f"ended with status {end.status}"
        raise JobsFailed(f"the training {how}.", f"See {job.log}.", end.status)


def on_devices(devices: int, restarts: int, line: CommandLine) -> int:
    """In so many processes, and again where one was killed; the exit status."""
    from segkit.distributed import launch
    from segkit.errors import UsageError

    if "WORLD_SIZE" in os.environ:
        raise UsageError(
            "SK-C009",
            f"--devices {devices}: a launcher has started this process already.",
            "Leave --devices out, or torchrun.",
        )
    words = without(as_typed(), RESTARTS)
    if restarts:
        _, words = line.restartable(words)
    left = iter(range(restarts - 1, -1, -1))

    def restarting(status: int) -> None:
        say(
            f"A process ended with status {status}: going on from the last checkpoint "
            f"({next(left)} restarts left).",
            err=True,
        )

    return launch(devices, words, restarts, restarting)


def refuse_restarts_alone(restarts: int | None, devices: int | None) -> None:
    """Raises UsageError SK-C009 where one process is to restart itself."""
    if restarts and not (devices and devices > 1):
        from segkit.errors import UsageError

        raise UsageError(
            "SK-C009",
            f"--max-restarts {restarts} watches over several processes, and there is one.",
            "Add --devices 2 or more; for one process, --launcher or --resume-or-start.",
        )


def _new_folder(wanted: Path) -> Path:
    """The folder, with the next number added where it is there."""
    folder, number = wanted, 1
    while folder.exists():
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder
