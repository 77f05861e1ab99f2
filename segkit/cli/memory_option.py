"""--keep-freed-memory, for commands that compute without a run's settings."""

from __future__ import annotations

import click


def _keep(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from segkit.cpu.allocator import keep_freed_memory

    if not keep_freed_memory():
        click.secho(
            "WARNING: Freed memory cannot be kept: it needs Linux with the GNU C library.",
            fg="yellow",
            err=True,
        )


keep_freed_memory_option = click.option(
    "--keep-freed-memory",
    is_flag=True,
    expose_value=False,
    callback=_keep,
    help="Linux: up to a fifth more memory, for time where images are large. [default: off]",
)
