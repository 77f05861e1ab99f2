"""Options of commands whose work a launcher runs, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.completion import ComponentName
from segkit.cli.declaring import Option, say

if TYPE_CHECKING:
    from segkit.interfaces import JobNews
    from segkit.launchers.jobs import Needs

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


def launcher_options(default: str | None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """--launcher and the needs of jobs; `default` is the launcher without the option."""
    told = default or "none, here and now"

    def add(function: Callable[..., None]) -> Callable[..., None]:
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


def needs_of(given: dict[str, Any], processes: int | None) -> Needs:
    """What the options say that each job needs; they are taken out of `given`."""
    from segkit.launchers.jobs import Needs

    return Needs(
        processes=processes or 1,
        gpus=given.pop("job_gpus"),
        cpus=given.pop("job_cpus"),
        memory_gib=given.pop("job_memory"),
        minutes=given.pop("job_minutes"),
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
