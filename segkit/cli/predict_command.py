"""`segkit predict`: a trained model's masks for images."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.options.declaring import TorchCommand, say
from segkit.cli.options.machine_options import device_options, keep_freed_memory_option
from segkit.cli.running.launching import JOBS, launcher_options, needs_of

if TYPE_CHECKING:
    from segkit.inference.output import Output
    from segkit.inference.prediction_report import Report

BATCH = "Images of one size, or tiles, at a time. [default: on a CPU one for each core, else 1]"
TILE = "Cut larger images into tiles of so many pixels a side. [default: images whole]"
INTENSITY = "Which pixel values are black and white. [default: as in training]"
OVERLAP = "Share of a tile that neighbours have in common."


@click.command("predict", cls=TorchCommand)
@click.argument("run")
@click.argument("images", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for results.")
@click.option(
    "--overlay/--no-overlay", default=True, help="Also write pictures to look at. [default: yes]"
)
@click.option("--overwrite", is_flag=True, help="Replace results that are there already.")
@click.option("--resume", is_flag=True, help="Go on where an earlier command stopped.")
@click.option(
    "--shard",
    metavar="I/N",
    help="Only the I-th of N shares, for N processes at once. [default: all]",
)
@click.option("--merge", is_flag=True, help="Add the shards' tables up; predict nothing.")
@click.option("--objects", is_flag=True, help="Number and measure objects: objects/, objects.csv.")
@click.option(
    "--least-area",
    type=click.IntRange(1),
    help="Leave out objects of fewer pixels. [default: 1, or as a training with --separate has it]",
)
@click.option(
    "--background",
    metavar="NAME|LABEL",
    help="The class that is no object. [default: as in training]",
)
@click.option("--geojson", is_flag=True, help="Also write the objects' outlines as GeoJSON.")
@click.option("--coco", is_flag=True, help="Also write the objects as coco.json.")
@click.option("--probabilities", is_flag=True, help="Also write every class's probability.")
@click.option("--uncertainty", is_flag=True, help="Also write maps of the doubt (entropy).")
@click.option(
    "--tta", is_flag=True, help="Mean over the image and its three mirrorings: 4 x slower."
)
@click.option(
    "--mc-dropout",
    default=0,
    type=click.IntRange(0),
    help="Mean over so many passes with dropout left on. [default: one pass without]",
)
@click.option("--batch", type=click.IntRange(1), help=BATCH)
@click.option("--tile", type=click.IntRange(16), help=TILE)
@click.option(
    "--overlap", default=0.25, type=click.FloatRange(0, 0.9), help=OVERLAP, show_default=True
)
@click.option(
    "--level",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Of pyramids (slides), 0 being the finest.",
)
@click.option(
    "--max-pixels", type=click.IntRange(1), help="Largest image, pixels. [default: 178956970]"
)
@click.option("--intensity", metavar="per-image|fixed(BLACK, WHITE)", help=INTENSITY)
@device_options
@keep_freed_memory_option
@launcher_options(None)
@JOBS
@click.option("--json", "as_json", is_flag=True, help="Print what predictions.json holds.")
def command(
    run: str,
    images: tuple[str, ...],
    out: Path,
    as_json: bool,
    launcher: str | None,
    **given: Any,
) -> int:
    """Write a mask for each of IMAGES: files, folders or patterns such as 'scans/*.png'.

    \b
    segkit predict runs/street photos --out masks
    segkit predict runs/street 'scans/*.tif' --out masks --tile 512
    segkit predict runs/cells scans --out counts --objects --least-area 20
    segkit predict runs/cells scans --out out --objects --least-area 20 --resume
    segkit predict runs/a runs/b runs/c photos --out masks --uncertainty
    segkit predict runs/street photos --out masks --launcher slurm --jobs 8

    RUN is the folder that `segkit train` printed, or an ONNX file that `segkit export` wrote;
    several runs are an ensemble, whose answer is the mean of their probabilities. OUT
    gets masks/ (PNG at the image's own size, its pixels the classes, shown in the palette's
    colours), overlays/ and predictions.json.

    summary.csv has a line for each image. --objects, --geojson and --coco take for objects what a
    model trained with --separate tells apart, which writes objects/ by itself; of other models the
    connected pixels of every class but the background.

    Images too large for the memory are cut by --tile; tiles overlap, and their logits are blended.

    Exit status 3 where an image could not be read; the others are written all the same.
    """
    needs, jobs = needs_of(given, None, launcher), given.pop("jobs")
    if launcher:
        from segkit.cli.running.sharing import predict_by_jobs

        return predict_by_jobs(launcher, jobs or 2, needs, out, as_json=as_json)
    return _predict(run, images, out, given, as_json=as_json)


def _predict(
    run: str, images: tuple[str, ...], out: Path, given: dict[str, Any], *, as_json: bool
) -> int:
    """Here and now; the exit status."""
    from segkit.data.files.reading import MAX_PIXELS
    from segkit.inference.files import predict_to_folder
    from segkit.inference.output import Output
    from segkit.inference.prediction_settings import PredictionSettings

    given["max_pixels"] = given["max_pixels"] or MAX_PIXELS
    given["overlays"] = given.pop("overlay")
    asked, kept = (
        {name: given[name] for name in (field.name for field in fields(kind)) if name in given}
        for kind in (PredictionSettings, Output)
    )
    runs, images = _runs_and_images(run, images)
    settings = PredictionSettings(runs[0] if len(runs) == 1 else runs, **asked)
    output = Output(out, **kept)
    try:
        report = predict_to_folder(
            settings, images, output, _progress(as_json), _region_progress(as_json)
        )
    except KeyboardInterrupt:
        say("\nWhat is done stays: the same command with --resume goes on.", err=True)
        raise
    if as_json:
        say(json.dumps(report.as_json(), indent=2))
    else:
        say(_summary(report, output, settings.shard))
    return 3 if report.failed else 0


def _runs_and_images(run: str, given: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The runs that come first, as long as they hold models, and the images after them."""
    from segkit.model.place import holds_model

    count = 0
    while count < len(given) - 1 and holds_model(given[count]):
        count += 1
    return (run, *given[:count]), given[count:]


def _progress(quiet: bool) -> Callable[[int, int], None]:
    """Shows how far the prediction is, where a person is watching."""
    if quiet or not sys.stderr.isatty():
        return lambda done, images: None
    return lambda done, images: say(
        f"\r{done}/{images} images" + "\n" * (done >= images), nl=False, err=True
    )


def _region_progress(quiet: bool) -> Callable[[str, int, int], None]:
    """Shows how far a large image is."""
    if quiet or not sys.stderr.isatty():
        return lambda name, done, regions: None
    return lambda name, done, regions: say(
        f"\r{name}: {done}/{regions} regions" + "\n" * (done >= regions), nl=False, err=True
    )


def _summary(report: Report, output: Output, shard: str | None) -> str:
    out, separation = output.folder, report.record.separation
    lines = [f"{len(report.images)} masks in {out / 'masks'}"]
    if any(each.overlay for each in report.images):
        lines.append(f"pictures in {out / 'overlays'}")
    if shard:
        lines.append(f"shard {shard} is done; when all are, the same command with --merge")
    else:
        lines.append(f"sizes and class shares in {out / 'summary.csv'} and predictions.json")
    if (output.objects or separation) and not shard:
        lines.append(f"objects in {out / 'objects.csv'}, their numbers in {out / 'objects'}")
        if separation and output.least_area is None:
            lines += _left_out(separation)
    if report.failed:
        images = "image" if len(report.failed) == 1 else "images"
        lines.append(f"\n{len(report.failed)} {images} could not be predicted:")
        lines += [f"{each.code}: {each.what} {each.fix}" for each in report.failed]
    return "\n".join(lines)


def _left_out(separation: str) -> list[str]:
    """What the model's own least area leaves out, in a line; none where it is one pixel."""
    from segkit.separation.named import build_separation

    least = build_separation(separation).least_area
    if least == 1:
        return []
    told = (
        f"specks of fewer than {least:,} pixels (a tenth at the border) are no objects, since all"
    )
    return [f"{told} in training were much larger; --least-area 1 keeps them"]
