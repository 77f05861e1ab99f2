"""Options of commands whose work a launcher runs, and what is said of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.options.completion import ComponentName
from segkit.cli.options.declaring import Option, say

if TYPE_CHECKING:
    from segkit.interfaces import JobNews
    from segkit.launchers.jobs import Needs

# The options that say where a command's work runs, less which it is the work's own command line.
LAUNCHING = ("--launcher", "--jobs", "--job-gpus", "--job-cpus", "--job-memory", "--job-minutes")

launching = partial(click.option, cls=Option, group="Launching")

NEEDS = (
    launching(
        "--job-gpus",
        type=click.IntRange(0),
        metavar="N",
        help="GPUs of each job. [default: one a process where there are any]",
    ),
    launching(
        "--job-cpus",
        type=click.IntRange(1),
        metavar="N",
        help="Cores of each job. [default: the launcher's choice]",
    ),
    launching(
        "--job-memory",
        type=click.FloatRange(0, min_open=True),
        metavar="GIB",
        help="Memory of each job. [default: not said]",
    ),
    launching(
        "--job-minutes",
        type=click.FloatRange(0, min_open=True),
        metavar="N",
        help="When a job is asked to save and end. [default: never]",
    ),
)


JOBS = launching(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="With --launcher: how many share the work. [default: 2]",
)


def launcher_options(default: str | None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--launcher and the needs of jobs; `default` is the launcher without the option."""
    told = default or "none, here and now"

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(NEEDS):
            function = option(function)
        return launching(
            "--launcher",
            type=ComponentName("launchers"),
            default=default,
            show_default=False,
            help=f"Where it runs: local, slurm, ray. [default: {told}]",
        )(function)

    return add


def needs_of(given: dict[str, Any], processes: int | None, launcher: str | None) -> Needs:
    """What the options say that each job needs; they are taken out of `given`.

    Raises UsageError SK-C009 where something is said of jobs that nobody launches.
    """
    from segkit.errors import UsageError
    from segkit.launchers.jobs import Needs

    needs = {name: given.pop(f"job_{name}") for name in ("gpus", "cpus", "memory", "minutes")}
    said = [f"--job-{name}" for name, value in needs.items() if value is not None]
    said += ["--jobs"] * (given.get("jobs") is not None)
    if said and launcher is None:
        raise UsageError(
            "SK-C009",
            f"{said[0]} was given without --launcher.",
            "Add --launcher local, or leave it out.",
        )
    return Needs(
        processes=processes or 1,
        gpus=needs["gpus"],
        cpus=needs["cpus"],
        memory_gib=needs["memory"],
        minutes=needs["minutes"],
    )


def tell(news: JobNews) -> None:
    """A line for each piece of news."""
    if news.what == "launched":
        say(f"{news.job.name}: {news.where}")
    elif news.status == 0:
        say(f"{news.job.name}: done")
    else:
        how = news.reason or f"ended with status {news.status}"
        say(f"{news.job.name}: {how}; see {news.job.log}", err=True)


def as_typed() -> list[str]:
    """The words of the command line, behind `segkit`."""
    return list(click.get_current_context().find_root().obj or sys.argv[1:])


def without(words: Sequence[str], flags: Sequence[str]) -> list[str]:
    """A command line's words less these options, each with its value, behind it or after a =."""
    kept, skip = [], False
    for word in words:
        name, equals, _ = word.partition("=")
        if skip:
            skip = False
        elif name in flags:
            skip = not equals
        else:
            kept.append(word)
    return kept
