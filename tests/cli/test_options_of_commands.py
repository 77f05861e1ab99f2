"""Every option of every command stands in options.txt: changing one is a decision, not an accident.

`python tests/cli/test_options_of_commands.py` writes the file again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from segkit.cli.main import segkit

LISTED = Path(__file__).with_name("options.txt")


def described(command: click.Command, path: tuple[str, ...]) -> Iterator[str]:
    """A line a parameter but --help, which all have: command, its names, what it takes."""
    context = click.Context(command, info_name=path[-1])
    for parameter in sorted(command.params, key=lambda each: each.opts):
        names = " ".join((*parameter.opts, *parameter.secondary_opts))
        kind = parameter.type
        takes = "|".join(map(str, kind.choices)) if isinstance(kind, click.Choice) else kind.name
        flag = getattr(parameter, "is_flag", False)
        yield f"{' '.join(path)}: {names} {'(flag)' if flag else takes}".rstrip()
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from described(child, (*path, name))


def test_options_are_those_that_are_listed():
    assert list(described(segkit, ("segkit",))) == LISTED.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    LISTED.write_text("\n".join(described(segkit, ("segkit",))) + "\n", encoding="utf-8")
