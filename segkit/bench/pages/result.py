"""The report of a benchmark: pictures as PNG files, and one page that holds everything."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

from segkit.bench.pages.plots import PICTURES
from segkit.bench.pages.style import DARK, LIGHT
from segkit.bench.records import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(run: Run, folder: Path) -> tuple[Path, ...]:
    """Writes the pictures and report.html into the folder; returns the files."""
    from segkit.bench.pages.page import Picture, page

    written, shown = [], []
    for name, draw in PICTURES.items():
        light = draw(run, LIGHT)
        if light is None:
            continue
        file = folder / f"{name}.png"
        file.write_bytes(png(light))
        written.append(file)
        shown.append(Picture(name, _inline(file.read_bytes()), _inline(png(draw(run, DARK)))))
    for name in _attached(run, folder):
        inline = _inline((folder / name).read_bytes())
        shown.append(Picture(Path(name).stem, inline, inline))
    report = folder / "report.html"
    report.write_text(page(run, shown), encoding="utf-8")
    return (*written, report)


def _attached(run: Run, folder: Path) -> list[str]:
    """Pictures that the benchmark itself wrote: artefacts of upsampling, memory over time."""
    named = [row.checkerboard.picture for row in run.rows if row.checkerboard]
    named += [file for row in run.rows for file in row.files if file.endswith(".png")]
    return [name for name in dict.fromkeys(named) if name and (folder / name).is_file()]


def png(figure: Figure) -> bytes:
    """The picture in 256 colours: a third of the bytes, and no difference to be seen."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", facecolor=figure.get_facecolor())
    Image.open(drawn).convert("RGB").quantize(256).save(small, format="PNG", optimize=True)
    return small.getvalue()


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
