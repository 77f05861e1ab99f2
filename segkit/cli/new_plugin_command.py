"""`segkit new-plugin KIND NAME`: writes a plugin package that passes its own checks."""

from __future__ import annotations

import os

import click

from segkit.cli.options.completion import Kind
from segkit.cli.options.declaring import Command


@click.command("new-plugin", cls=Command)
@click.argument("kind", type=Kind())
@click.argument("name")
@click.option(
    "--out", default=".", metavar="DIR", help="Where the new folder goes. [default: here]"
)
def command(kind: str, name: str, out: str) -> None:
    """Write a new plugin package that passes its own checks.

    \b
    KIND   one of encoder, decoder, upsampler, loss, metric, dataset, benchmark,
           launcher
    NAME   what users will type, such as `tiny`; the package is then segkit-tiny

    The package holds a small component that works, to be replaced by yours, its metadata, its tests
    and a CI workflow. An existing folder is never overwritten.
    """
    from pathlib import Path

    from segkit.registry.index import checked_kind, singular
    from segkit.scaffold import write_plugin

    _refuse_swapped(kind, name)
    folder = write_plugin(kind, name, Path(out))
    click.echo(f"Wrote {folder}{os.sep}. Next:\n")
    click.echo(f"  cd {folder}")
    click.echo('  python -m pip install -e ".[test]"')
    click.echo("  python -m pytest")
    click.echo(f"  segkit info {singular(checked_kind(kind))} {name}")


def _refuse_swapped(kind: str, name: str) -> None:
    from segkit.errors import UsageError
    from segkit.kinds import KINDS
    from segkit.registry.index import singular

    words = {word for each in KINDS for word in (each, singular(each))}
    if kind not in words and name in words:
        raise UsageError(
            "SK-C002",
            f"'{kind}' is no kind of component: the kind comes first.",
            f"segkit new-plugin {name} {kind}",
        )
