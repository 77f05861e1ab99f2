"""`segkit bench join`: one worker of a benchmark that several measure."""

from __future__ import annotations

from pathlib import Path

import click

from segkit.cli.options.declaring import TorchCommand, say


@click.command("join", cls=TorchCommand)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--worker", type=click.IntRange(1), required=True, help="Which one; each has its own number."
)
def command(folder: Path, worker: int) -> None:
    """Measure cases of the benchmark in DIR, one after the other, until none is left.

    `segkit bench --launcher` has its jobs do this. DIR/workers/N.json holds what worker N found;
    given again, it goes on with the case that it had begun.
    """
    from segkit.bench.display.terminal import PlainDisplay
    from segkit.bench.shared.worker import join

    join(folder, worker, PlainDisplay(say))
