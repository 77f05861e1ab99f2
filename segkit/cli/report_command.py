"""`segkit report`: the page of a training that has ended, or is still running."""

from __future__ import annotations

from pathlib import Path

import click

from segkit.cli.options.declaring import TorchCommand, say


@click.command("report", cls=TorchCommand)
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> None:
    """Write RUN/report.html from what lies in the folder of a training.

    \b
    segkit report runs/street

    Every training writes it at its end. It is one file that opens without a network.
    """
    from segkit.training.run.folds_report import folds_in, write_folds_report
    from segkit.training.run.report import write_report

    say(str(write_folds_report(run) if folds_in(run) else write_report(run)))
