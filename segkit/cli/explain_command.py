"""`segkit explain CODE`: what an error code means."""

from __future__ import annotations

import click

from segkit.cli.options.declaring import Command
from segkit.errors import CODES, UsageError, did_you_mean


@click.command("explain", cls=Command)
@click.argument("code", required=False)
def command(code: str | None) -> None:
    """Explain an error CODE such as SK-C003: cause, example, repair; or list them all."""
    if code is None:
        for known, meaning in CODES.items():
            click.echo(f"{known}  {meaning}")
        return
    wanted = code.upper() if code.upper().startswith("SK-") else f"SK-{code.upper()}"
    if wanted not in CODES:
        raise UsageError(
            "SK-C009",
            f"'{code}' is no error code.",
            f"{did_you_mean(wanted, CODES)}`segkit explain` lists all {len(CODES)}.",
        )
    from segkit.describe.explanations import explained

    click.echo(explained(wanted, CODES[wanted]))
