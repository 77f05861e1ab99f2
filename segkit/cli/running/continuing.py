"""Which run a command line of `segkit train` goes on with, if any, and what it may change in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def run_to_continue(
    resume: Path | None,
    scheduled: Path | None,
    file: Path | None,
    options: dict[str, Any],
    assignments: tuple[str, ...],
    *,
    force: bool,
) -> tuple[Path, dict[str, Any]] | None:
    """The run of --resume, or of --resume-or-start where there is one, and its changed settings.

    Raises UsageError SK-C009 for options that do not go together, and SK-C014 where the line wants
    another run than the one there.
    """
    if resume:
        _refuse_beside(resume, file, assignments, scheduled)
        return resume, options
    if scheduled and (scheduled / "config.yaml").is_file():
        return scheduled, _changes(scheduled, file, options, assignments)
    if force and not scheduled:
        from segkit.errors import UsageError

        raise UsageError(
            "SK-C009",
            "--force accepts what differs in a run that goes on, and none does.",
            "Leave it out, or add --resume RUN.",
        )
    return None


def _changes(
    folder: Path, file: Path | None, options: dict[str, Any], assignments: tuple[str, ...]
) -> dict[str, Any]:
    from segkit.config import read_config
    from segkit.training.continuing import offering_the_copy
    from segkit.training.resuming.identity import refuse_another_run
    from segkit.training.resuming.scheduled import contradictions
    from segkit.training.run.run_folder import RunFolder

    with offering_the_copy(RunFolder(folder)):
        begun = read_config(folder / "config.yaml")
    # What they came to is decided, and stands in the run's own settings.
    options = {key: value for key, value in options.items() if key != "minutes"}
    changes, against = contradictions(begun, file, options, assignments)
    refuse_another_run(folder, against)
    return changes


def _refuse_beside(
    folder: Path, file: Path | None, assignments: tuple[str, ...], scheduled: Path | None
) -> None:
    from segkit.errors import UsageError

    refused = ["--config"] * bool(file) + ["--set"] * bool(assignments)
    refused += ["--resume-or-start"] * bool(scheduled)
    if refused:
        raise UsageError(
            "SK-C009",
            f"{' and '.join(refused)} cannot be given with --resume: a run goes on as it began.",
            f"For another run: segkit train --config {folder / 'config.yaml'} ...",
        )
