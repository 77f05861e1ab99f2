"""How commands are declared: options in groups, defaults told, a first line at once."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from segkit.errors import visible

GROUPS = ("Data", "Network", "Training", "Machine", "Launching", "Output", "Options")


class Option(click.Option):
    """An option that stands in a group of the help.

    group   one of GROUPS
    """

    def __init__(self, *arguments: Any, group: str = "Options", **settings: Any) -> None:
        settings.setdefault("show_default", True)
        super().__init__(*arguments, **settings)
        self.group = group


class Command(click.Command):
    """A command whose help lists its options in groups."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                rows[getattr(parameter, "group", "Options")].append(record)
        for group, listed in rows.items():
            if listed:
                with formatter.section(group):
                    formatter.write_dl(listed)


class TorchCommand(Command):
    """A command that takes seconds before its first result: it says so at once."""

    def invoke(self, ctx: click.Context) -> Any:
        announce(f"{ctx.command_path}: loading PyTorch ...")
        return super().invoke(ctx)


def say(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Prints text that may hold names from files: what would steer the terminal is made visible."""
    click.echo(visible(str(text)), err=err, nl=nl)


def announce(text: str) -> None:
    """A line on the error stream, by the first of torchrun's processes or the only one.

    Processes that `--devices` started say nothing: the one that started them has.
    """
    launched = os.environ.get("TORCHELASTIC_RUN_ID") == "segkit"
    if not launched and is_first_process():
        click.echo(text, err=True)


def is_first_process() -> bool:
    """Whether this is the first of torchrun's processes, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def counter(things: str) -> Callable[[int, int], None]:
    """Shows how many of the things are done, on one line, where a person is watching."""
    if not (is_first_process() and sys.stderr.isatty()):
        return lambda done, count: None
    return lambda done, count: say(
        f"\r{min(done, count)}/{count} {things}" + "\n" * (done >= count), nl=False, err=True
    )


def repeated(words: Sequence[str] | None) -> str:
    """The command line that repeats what runs, from the words that `main` was given."""
    return shlex.join(["segkit", *words]) if words else ""
