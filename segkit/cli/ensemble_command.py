"""`segkit ensemble`: several trained models as one."""

from __future__ import annotations

from pathlib import Path

import click

from segkit.cli.options.declaring import TorchCommand, say
from segkit.errors import UsageError


@click.command("ensemble", cls=TorchCommand)
@click.argument("runs", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Model folder.")
@click.option("--overwrite", is_flag=True, help="Replace a model folder that is there already.")
def command(runs: tuple[str, ...], out: Path, overwrite: bool) -> None:
    """Put RUNS, run folders or model folders, into one model folder that answers as one.

    \b
    segkit ensemble runs/seed0 runs/seed1 runs/seed2 --out ensemble
    segkit predict ensemble photos --out masks --uncertainty

    Its answer is the mean of their probabilities. Classes, channels and the scale of pixel values
    have to be the same; networks may differ. It is calibrated, scored and shared as a model is.
    """
    if len(runs) < 2:
        raise UsageError(
            "SK-C009", "An ensemble has two members or more.", "Name several runs, then --out."
        )
    if out.exists() and not (overwrite and (out / "model.json").is_file()):
        fix = "Give another --out" + (", or --overwrite." if out.is_dir() else ".")
        raise UsageError("SK-C012", f"{out} exists already.", fix)
    from segkit.model.folder import load_model, save_model

    save_model(load_model(runs), out)
    say(f"{len(runs)} models in {out}")
    say(f"Next: segkit predict {out} IMAGES... --out DIR --uncertainty")
