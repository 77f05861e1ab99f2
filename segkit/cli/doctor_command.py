"""`segkit doctor`: what this machine and environment have, and what is wrong with them."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from segkit.cli.options.declaring import Command, announce, say
from segkit.errors import EnvironmentFault


@click.command("doctor", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Check this machine and environment; exit status 4 if something cannot work.

    \b
    ok     all is well
    warn   works, but may disappoint
    bad    something cannot work; the line below it says what to do
    """
    from segkit.describe.doctor import examine

    announce("segkit doctor: looking at packages, devices and plugins ...")
    lines = examine()
    if as_json:
        say(json.dumps([asdict(line) for line in lines], indent=2))
    else:
        width = max(len(line.subject) for line in lines)
        for line in lines:
            say(f"{line.state:4}  {line.subject:{width}}  {line.found}")
            for step in line.fix.splitlines():
                say(f"      {'':{width}}  > {step}")
    if any(line.state == "bad" for line in lines):
        ctx.exit(EnvironmentFault.exit_code)
