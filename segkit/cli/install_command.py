"""`segkit install`: installs a plugin of the directory with pip, then looks at it."""

from __future__ import annotations

import shlex
import subprocess
import sys

import click

from segkit.cli.options.declaring import Command, say
from segkit.errors import EnvironmentFault, PluginError


@click.command("install", cls=Command)
@click.argument("name")
@click.option(
    "--directory",
    metavar="FILE|URL",
    help="Another directory of plugins; a URL is fetched. [default: the one that is shipped]",
)
@click.option("--dry-run", is_flag=True, help="Show the command for pip, and stop.")
def command(name: str, directory: str | None, dry_run: bool) -> None:
    """Install a plugin of the directory, by its name or by a component it offers.

    \b
    segkit install segkit-timm
    segkit install timm/resnet50      the plugin that offers it
    segkit plugins --available        what there is

    pip does it, in this Python, with pip's own settings; then the plugin is looked at in a process
    of its own. Exit status 9 if it is broken.
    """
    from segkit.registry.directory import LIFECYCLES, find_listed, read_directory
    from segkit.testing.imports import probe

    listed = find_listed(name, read_directory(directory))
    line = [sys.executable, "-m", "pip", "install", listed.requirement]
    say(f"{listed.name}: {listed.summary} {listed.lifecycle}, {LIFECYCLES[listed.lifecycle]}.")
    say(shlex.join(line))
    if dry_run:
        return
    if subprocess.run(line).returncode:
        raise EnvironmentFault(
            "SK-P008",
            f"pip did not install {listed.requirement}; its own words stand above.",
            f"Try it by hand: {shlex.join(['python', *line[1:]])}",
        )
    if found := probe(listed.name):
        first = found[0]
        raise PluginError(
            "SK-P001",
            f"{listed.name} is installed and broken: {first.cause.rstrip('.')}.",
            f"{first.fix} python -m pip uninstall {listed.name} removes it.".strip(),
        )
    names = [each for offered in listed.components.values() for each in offered]
    say(f"Installed and looked at. It offers {', '.join(names)}.")
