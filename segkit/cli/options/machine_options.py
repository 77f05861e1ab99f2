"""What commands that compute without a run's settings take of the machine."""

from __future__ import annotations

from typing import Any

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


workers_option = click.option(
    "--workers", type=click.IntRange(min=0), help="Reading processes. [default: auto]"
)


def device_options(function: Any) -> Any:
    """--device and --precision."""
    for option in (
        click.option(
            "--precision",
            type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
            default="auto",
            show_default=True,
            help="Of the arithmetic.",
        ),
        click.option(
            "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps."
        ),
    ):
        function = option(function)
    return function
