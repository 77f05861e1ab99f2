"""`segkit push`: a trained model as a folder to share, or on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

import click

from segkit.cli.options.declaring import TorchCommand, say
from segkit.errors import UsageError


@click.command("push", cls=TorchCommand)
@click.argument("run")
@click.argument("name", required=False, metavar="[OWNER/NAME]")
@click.option(
    "--license",
    "licence",
    metavar="ID",
    help="Of the weights, such as apache-2.0. [default: none, it has to be given]",
)
@click.option(
    "--evaluation",
    type=click.Path(path_type=Path),
    help="Folder of `segkit evaluate RUN --out`, for the card. [default: the training's scores]",
)
@click.option("--public", is_flag=True, help="Everybody may see it. [default: only its owner]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write the folder here, and send nothing. [default: it is sent]",
)
def command(
    run: str,
    name: str | None,
    licence: str | None,
    evaluation: Path | None,
    public: bool,
    out: Path | None,
) -> None:
    """Send RUN, a run or model folder, to the Hugging Face hub, with a card of what it is.

    \b
    segkit push runs/cells ann/cells --license cc-by-4.0
    segkit push runs/cells ann/cells --license mit --evaluation cells-scores
    segkit push runs/cells --license mit --out cells-to-share

    Others load it by `hf:OWNER/NAME`. Sent are the weights, model.json, the card and the scores.
    A name that is there gets a new version.
    """
    if licence is None:
        raise UsageError(
            "SK-C011",
            "nobody has said under which licence the model is handed on.",
            f"Say it: segkit push {run} {name or '--out DIR'} --license ID, such as apache-2.0, "
            "cc-by-4.0 or other. Weights and data that it was trained on may bind you.",
        )
    if (name is None) == (out is None):
        raise UsageError(
            "SK-C009",
            "A model goes to one place.",
            "Give OWNER/NAME to send it, or --out DIR to write the folder and send nothing.",
        )
    from segkit.export.hub import Sharing, push, write_shared

    asked = Sharing(run, licence, name, evaluation, public)
    if out is not None:
        say(f"written: {write_shared(asked, out)}")
        return
    say(f"sent: {push(asked)}")
    say(f"Load it: segkit predict hf:{name} IMAGES... --out DIR")
