"""`segkit export`: a trained model as a file that other programs run."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.options.declaring import TorchCommand, repeated, say
from segkit.errors import UsageError

if TYPE_CHECKING:
    from segkit.bench.export_speed import Speed
    from segkit.export.int8 import Quantized
    from segkit.export.onnx_export import Exported
    from segkit.model.network import SegmentationModel

INT8 = "In 8-bit integers: static is calibrated on the training images. [default: none]"


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
    "--out",
    type=click.Path(path_type=Path),
    help="File to write. [default: RUN/model.onnx, or RUN/model.int8.onnx]",
)
@click.option(
    "--normalize", is_flag=True, help="The graph takes pixels and normalises them itself."
)
@click.option("--labels", is_flag=True, help="The graph gives classes, not logits.")
@click.option(
    "--probabilities",
    is_flag=True,
    help="The graph gives probabilities, by the model's temperature, not logits.",
)
@click.option(
    "--images",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Compare on these images, files or folders, not on the demo set's. May be repeated.",
)
@click.option("--int8", type=click.Choice(["static", "dynamic"]), help=INT8)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="For --int8: images and masks to calibrate and score on. [default: as in training]",
)
@click.option("--split", default="val", show_default=True, help="For --int8: the part to score.")
@click.option("--speed/--no-speed", default=True, help="For --int8: measure it too. [default: yes]")
@click.option(
    "--minutes",
    default=20.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="That tracing may take.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is there already.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(run: str, out: Path | None, **given: Any) -> None:
    """Write RUN, a run, a model folder or an ensemble, as an ONNX file for images of any size.

    \b
    segkit export runs/cells                       normalised images to logits
    segkit export runs/cells --normalize --labels  pixels to classes
    segkit export runs/cells --labels --probabilities
                                                   classes, and how sure
    segkit export runs/cells --int8 static         in 8-bit integers

    The file is run by onnxruntime beside the model at three sizes and kept only where both agree.
    Its metadata hold the classes' names, colours, normalisation and scale of the pixels.

    In 8 bits the labels differ: --int8 scores both files on images with masks, measures how much
    sooner the smaller one answers, says both, and keeps them beside it, as NAME.onnx.json.
    """
    target = _target(run, out, given["int8"] is not None)
    _refuse_target(target, given["overwrite"])
    if given["data"] is not None and given["int8"] is None:
        raise UsageError(
            "SK-C009", "--data was given without --int8.", "Add --int8 static, or leave --data out."
        )
    from segkit.export.onnx_export import export_onnx, images_to_compare
    from segkit.export.onnx_graph import GraphSettings, require_onnx
    from segkit.export.record_file import remove_record
    from segkit.model.folder import load_model

    require_onnx()
    model = load_model(run)
    settings = GraphSettings(given["normalize"], given["labels"], given["probabilities"])
    images = images_to_compare(given["images"], model.record.in_channels)
    say(f"tracing the network, for {given['minutes']:g} minutes at most ...", err=True)
    if given["int8"] is None:
        exported = export_onnx(model, target, settings, images, given["minutes"])
        remove_record(target)
        say(json.dumps(exported.as_json(), indent=2) if given["as_json"] else _told(exported))
        return
    with TemporaryDirectory() as folder:
        float_file = Path(folder) / "float32.onnx"
        export_onnx(model, float_file, settings, images, given["minutes"])
        _in_int8(run, model, float_file, target, given)


def _target(run: str, out: Path | None, in_int8: bool) -> Path:
    """The file to write."""
    from segkit.model.place import HUB

    if out is None and run.startswith(HUB):
        name = run.rpartition("/")[2]
        raise UsageError(
            "SK-C009",
            f"{run} is no folder of this machine to write into.",
            f"Say where: --out {name}.onnx",
        )
    return out or Path(run).expanduser() / ("model.int8.onnx" if in_int8 else "model.onnx")


def _refuse_target(target: Path, overwrite: bool) -> None:
    """Two files may be written, of names that none of a run's or a model's own files has."""
    from segkit.export.record_file import record_file

    if target.suffix != ".onnx" or target.is_dir():
        raise UsageError(
            "SK-C009", f"--out {target} is no .onnx file.", "Give a name that ends so."
        )
    there = [each for each in (target, record_file(target)) if each.exists()]
    if there and not overwrite:
        raise UsageError(
            "SK-C012", f"{there[0]} exists already.", "Give another --out, or --overwrite."
        )


def _in_int8(
    run: str, model: SegmentationModel, float_file: Path, target: Path, given: dict[str, Any]
) -> None:
    """Writes the 8-bit file and its record, and says what it costs and wins."""
    from segkit.data.options import PLAIN_OPTIONS
    from segkit.export.int8 import Int8Settings, export_int8
    from segkit.export.record_file import write_record
    from segkit.scoring.data_for_model import TrainedModel, data_for
    from segkit.scoring.evaluate_model import run_settings

    trained = run_settings(Path(run))
    data = data_for(TrainedModel(run, model.record, trained), given["data"], PLAIN_OPTIONS)
    name = str(given["data"] or (trained.data if trained else None) or "demo set")
    say(f"scoring both files on {len(data.split(given['split']))} images of {name}", err=True)
    found = export_int8(float_file, target, data, Int8Settings(given["int8"], given["split"], name))
    command = repeated(click.get_current_context().obj)
    record = {"command": command, **found.as_json(), "speed": None}
    text = write_record(target, record)
    speed = None
    if given["speed"]:
        from segkit.bench.export_speed import speed_beside

        say("measuring how much sooner it answers: half a minute or more", err=True)
        speed = speed_beside(target, float_file)
        text = write_record(target, {**record, "speed": asdict(speed) if speed else None})
    say(text if given["as_json"] else _told_int8(found, speed, given["speed"]))
    if model.record.separation:
        rest = shlex.join(["--data", name] if given["data"] else [])
        say(
            "not scored: the objects that it tells apart; "
            f"segkit evaluate {shlex.quote(str(target))} {rest or '--data DIR'} --metric ap does",
            err=True,
        )


def _told(exported: Exported) -> str:
    lines = [f"{exported.file}  {exported.bytes / 2**20:.1f} MiB"]
    name = " and ".join(each for each in exported.outputs if each != "labels")
    for each in exported.agreement:
        batch, height, width = each.size
        values = "" if each.difference is None else f"{name} within {each.difference:.0e}, "
        lines.append(f"batch {batch}, {height} x {width} (height x width): {values}labels equal")
    lines.append(f"compared with PyTorch on {exported.images}, by onnxruntime")
    return "\n".join([*lines, "traced in {:.0f} s, compared in {:.0f} s".format(*exported.seconds)])


def _told_int8(found: Quantized, speed: Speed | None, measured: bool) -> str:
    from segkit.export.record_file import record_file
    from segkit.reporting.report import with_interval

    one, two, lost = found.float_score, found.score, found.difference
    ends = f" ({lost.low:+.4f} to {lost.high:+.4f})" if lost.low == lost.low else ""
    lines = [
        f"{found.file}  {found.bytes / 2**20:.1f} MiB, float32 {found.float_bytes / 2**20:.1f} MiB",
        f"mean IoU {with_interval(one.value, one.low, one.high)} in float32, "
        f"{with_interval(two.value, two.low, two.high)} in 8 bits: {lost.value:+.4f}{ends}",
        f"on {found.images} images of {found.data}, {found.split}; "
        f"{found.labels_differing / max(found.pixels, 1):.2%} of the labels differ",
    ]
    if found.calibrated_on:
        also = ", which are scored too" if found.calibration == found.split else ""
        lines.append(f"calibrated on {found.calibrated_on} images of {found.calibration}{also}")
    if speed is not None:
        verdict = ", no difference to be told" if speed.tie else ""
        ratio = f"{speed.times_as_fast:.2f} times float32's ({speed.low:.2f} to {speed.high:.2f}"
        lines.append(
            f"speed {ratio}; identical files up to {speed.band:.2f}{verdict}): "
            f"{speed.seconds * 1e3:.1f} ms, not {speed.other_seconds * 1e3:.1f}, for "
            f"{speed.size} x {speed.size} pixels on this CPU"
        )
    elif measured:
        lines.append("the speed could not be measured: segkit bench --onnx A,B says why")
    return "\n".join([*lines, f"kept in {record_file(Path(found.file))}"])
