"""`segkit predict`: a trained model's masks for images."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segkit.cli.declaring import TorchCommand
from segkit.cli.memory_option import keep_freed_memory_option

if TYPE_CHECKING:
    from segkit.inference.files import Report

DEVICE = "auto, cpu, cuda, cuda:N or mps."
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
@click.option("--batch", type=click.IntRange(1), help=BATCH)
@click.option("--tile", type=click.IntRange(16), help=TILE)
@click.option(
    "--overlap", default=0.25, type=click.FloatRange(0, 0.9), help=OVERLAP, show_default=True
)
@click.option(
    "--max-pixels", type=click.IntRange(1), help="Largest image, pixels. [default: 178956970]"
)
@click.option("--intensity", metavar="per-image|fixed(BLACK, WHITE)", help=INTENSITY)
@click.option("--device", default="auto", help=DEVICE, show_default=True)
@click.option(
    "--precision",
    default="auto",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    help="Of the arithmetic.",
    show_default=True,
)
@keep_freed_memory_option
@click.option("--json", "as_json", is_flag=True, help="Print what predictions.json holds.")
def command(
    run: str,
    images: tuple[str, ...],
    out: Path,
    overlay: bool,
    overwrite: bool,
    batch: int | None,
    tile: int | None,
    overlap: float,
    max_pixels: int | None,
    intensity: str | None,
    device: str,
    precision: str,
    as_json: bool,
) -> int:
    """Write a mask for each of IMAGES: files, folders or patterns such as 'scans/*.png'.

    \b
    segkit predict runs/street photos --out masks
    segkit predict runs/street 'scans/*.tif' --out masks --tile 512

    RUN is the folder that `segkit train` printed. OUT gets masks/ (PNG at the image's own size, its
    pixels the classes, shown in the palette's colours), overlays/ and predictions.json.

    Images too large for the memory are cut by --tile; tiles overlap, and their logits are blended.

    Exit status 3 where an image could not be read; the others are written all the same.
    """
    from segkit.data.files.reading import MAX_PIXELS
    from segkit.device import choose_device, choose_precision
    from segkit.inference.files import Output, Report, predict_files
    from segkit.inference.predictor import Predictor
    from segkit.inference.reading import asked_intensity
    from segkit.inference.sources import find_sources
    from segkit.inference.tiling import Tiling
    from segkit.model.folder import load_model
    from segkit.model.streams import streams_of

    scaling = asked_intensity(intensity)
    sources = find_sources(images)
    chosen = choose_device(device)
    batch = batch or streams_of(chosen)
    tiling = Tiling(tile, overlap, batch) if tile else None
    model = load_model(run, chosen)
    predictor = Predictor(model, chosen, choose_precision(precision, chosen), tiling)
    report = Report(run, predictor.model.record, str(chosen), predictor.precision)
    quiet = as_json or not sys.stderr.isatty()
    with click.progressbar(length=len(sources), file=sys.stderr, hidden=quiet) as bar:
        predict_files(
            predictor,
            sources,
            Output(out, overlays=overlay, overwrite=overwrite),
            report,
            intensity=scaling,
            batch=1 if tiling else batch,
            max_pixels=max_pixels or MAX_PIXELS,
            on_image=lambda: bar.update(1),
        )
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
    else:
        click.echo(_summary(report, out))
    return 3 if report.failed else 0


def _summary(report: Report, out: Path) -> str:
    lines = [f"{len(report.images)} masks in {out / 'masks'}"]
    if any(each.overlay for each in report.images):
        lines.append(f"pictures in {out / 'overlays'}")
    lines.append(f"sizes and class shares in {out / 'predictions.json'}")
    if report.failed:
        lines.append(f"\n{len(report.failed)} images could not be read:")
        lines += [f"{each.code}: {each.what}" for each in report.failed]
    return "\n".join(lines)
