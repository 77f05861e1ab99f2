"""The report of a benchmark: pictures as PNG files, and one page that holds everything."""

from __future__ import annotations

from pathlib import Path

from segkit.bench.pages.plots import PICTURES
from segkit.bench.records.run import Run
from segkit.reporting.figures import DARK, LIGHT, inline, png
from segkit.reporting.pages import Figure


def write_report(run: Run, folder: Path) -> tuple[Path, ...]:
    """Writes the pictures and report.html into the folder; returns the files."""
    from segkit.bench.pages.page import CAPTIONS, page

    written, shown = [], []
    for name, draw in PICTURES.items():
        light = draw(run, LIGHT)
        if light is None:
            continue
        file = folder / f"{name}.png"
        file.write_bytes(png(light))
        written.append(file)
        light, dark = inline(file.read_bytes()), inline(png(draw(run, DARK)))
        shown.append(Figure(name, light, dark, CAPTIONS.get(name, "")))
    for name in _attached(run, folder):
        picture = inline((folder / name).read_bytes())
        shown.append(Figure(Path(name).stem, picture, picture))
    report = folder / "report.html"
    report.write_text(page(run, shown), encoding="utf-8")
    return (*written, report)


def _attached(run: Run, folder: Path) -> list[str]:
    """Pictures that the benchmark itself wrote: artefacts of upsampling, memory over time."""
    named = [row.checkerboard.picture for row in run.rows if row.checkerboard]
    named += [file for row in run.rows for file in row.files if file.endswith(".png")]
    return [name for name in dict.fromkeys(named) if name and (folder / name).is_file()]
