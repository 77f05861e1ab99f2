"""`segkit export`: a trained model as a file that other programs run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segkit.cli.declaring import TorchCommand, say
from segkit.errors import UsageError

if TYPE_CHECKING:
    from segkit.export.onnx_export import Exported


@click.command("export", cls=TorchCommand)
@click.argument("run")
@click.option(
    "--format",
    "kind",
    default="onnx",
    show_default=True,
    type=click.Choice(["onnx"]),
    help="Of the file.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="File to write. [default: RUN/model.onnx]"
)
@click.option(
    "--normalize", is_flag=True, help="The graph takes pixels and normalises them itself."
)
@click.option("--labels", is_flag=True, help="The graph gives classes, not logits.")
@click.option(
    "--images",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Compare on these images, files or folders, not on the demo set's. May be repeated.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is there already.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    run: str,
    kind: str,
    out: Path | None,
    normalize: bool,
    labels: bool,
    images: tuple[Path, ...],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write RUN, a run folder or model folder, as an ONNX file for images of any size.

    \b
    segkit export runs/cells                       normalised images to logits
    segkit export runs/cells --normalize --labels  pixels to classes

    The file is run by onnxruntime beside the model at three sizes and kept only where both agree.
    Its metadata hold the classes' names, colours, normalisation and scale of the pixels.
    """
    target = out or Path(run) / "model.onnx"
    if target.suffix != ".onnx" or target.is_dir():
        raise UsageError(
            "SK-C009", f"--out {target} is no .onnx file.", "Give a name that ends so."
        )
    if target.exists() and not overwrite:
        raise UsageError(
            "SK-C012", f"{target} exists already.", "Give another --out, or --overwrite."
        )
    from segkit.export.onnx_export import export_onnx, images_to_compare
    from segkit.export.onnx_graph import GraphSettings, require_onnx
    from segkit.model.folder import load_model

    require_onnx()
    model = load_model(run)
    say("tracing the network and comparing at three sizes: half a minute or more", err=True)
    exported = export_onnx(
        model,
        target,
        GraphSettings(normalizes=normalize, labels=labels),
        images_to_compare(images, model.record.in_channels),
    )
    say(json.dumps(exported.as_json(), indent=2) if as_json else _told(exported))


def _told(exported: Exported) -> str:
    lines = [f"{exported.file}  {exported.bytes / 2**20:.1f} MiB"]
    for each in exported.agreement:
        batch, height, width = each.size
        logits = "" if each.difference is None else f"logits within {each.difference:.0e}, "
        lines.append(f"batch {batch}, {height} x {width} (height x width): {logits}labels equal")
    return "\n".join([*lines, f"compared with PyTorch on {exported.images}, by onnxruntime"])
