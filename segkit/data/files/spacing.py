"""How large a pixel is, where an image file says so in a way that can be believed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import tifffile

TIFF = (".tif", ".tiff")
UNITS = {
    **dict.fromkeys(("micron", "microns", "um", "\u00b5m", "\u03bcm", r"\u00b5m"), "\u00b5m"),
    **dict.fromkeys(("nm", "mm", "cm", "m"), ""),
}
# A plain TIFF's pixels per centimetre are a microscope's where a pixel is smaller than this; else
# they are a printer's, as 72 or 300 per inch always are.
LARGEST_MICROSCOPIC = 20.0
CENTIMETRE, MICRONS_IN_CENTIMETRE = 3, 1e4


@dataclass(frozen=True)
class Spacing:
    """Height and width of a pixel, in `unit`: µm, nm, mm, cm or m."""

    y: float
    x: float
    unit: str


def read_spacing(path: Path) -> Spacing | None:
    """As OME-TIFF and ImageJ write it, or a plain TIFF in pixels per centimetre; else None.

    Never raises: a file that cannot be read has been refused, or will be, by whoever needs pixels.
    """
    if path.suffix.lower() not in TIFF:
        return None
    try:
        with tifffile.TiffFile(path) as opened:
            if opened.is_ome and opened.ome_metadata:
                return _ome(opened.ome_metadata)
            tags = opened.pages.first.tags
            if opened.is_imagej:
                unit = (opened.imagej_metadata or {}).get("unit", "")
                return _per_unit(tags, str(unit))
            if tags.valueof("ResolutionUnit") == CENTIMETRE:
                found = _per_unit(tags, "cm")
                return _microscopic(found)
    except Exception:  # tifffile raises what it likes on damaged metadata.
        return None
    return None


def _ome(xml: str) -> Spacing | None:
    def value(name: str) -> str | None:
        found = re.search(rf'\b{name}="([^"]*)"', xml)
        return found.group(1) if found else None

    x, y = value("PhysicalSizeX"), value("PhysicalSizeY")
    units = [value(f"PhysicalSize{axis}Unit") or "\u00b5m" for axis in "XY"]
    if x is None or y is None or units[0] != units[1]:
        return None
    return _sound(float(y), float(x), units[0])


def _per_unit(tags: tifffile.TiffTags, unit: str) -> Spacing | None:
    sizes = []
    for name in ("YResolution", "XResolution"):
        pixels, units = tags.valueof(name)
        sizes.append(units / pixels)
    return _sound(sizes[0], sizes[1], unit)


def _microscopic(spacing: Spacing | None) -> Spacing | None:
    if spacing is None:
        return None
    y, x = spacing.y * MICRONS_IN_CENTIMETRE, spacing.x * MICRONS_IN_CENTIMETRE
    return Spacing(y, x, "\u00b5m") if max(y, x) < LARGEST_MICROSCOPIC else None


def _sound(y: float, x: float, unit: str) -> Spacing | None:
    if unit not in UNITS or not 0 < y < float("inf") or not 0 < x < float("inf"):
        return None
    return Spacing(y, x, UNITS[unit] or unit)
