"""Which files are read by region, and by which reader."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

from segkit.data.files.spacing import TIFF
from segkit.errors import DataError, SegkitError, first_line
from segkit.inference.slides.ome_zarr import SUFFIX as ZARR
from segkit.inference.slides.ome_zarr import ZarrRegions, is_zarr
from segkit.inference.slides.regions import RegionReader
from segkit.inference.slides.tiff import TiffRegions, is_slide
from segkit.inference.sources import Source
from segkit.registry.extras import declared, imported
from segkit.storage import require_plain

# Of TIFF: more pixels are read by region. Whole, they take a GB and more beside the network's own.
LARGE = 64_000_000
# Scanners' files that are TIFF inside.
SCANNED = (".svs", ".ndpi", ".scn", ".bif")
GROUP = "segkit.region_readers"
Opener = Callable[[Path, int], RegionReader]


def marked(sources: Sequence[Source], level: int = 0) -> tuple[Source, ...]:
    """The sources, those to be read by region with the suffix of the mask they get."""
    # Asked once: what is installed takes as long to look through as a small image to predict.
    readers = _plugins()
    return tuple(
        replace(each, mask_suffix=_mask_suffix(each.path, level, readers)) for each in sources
    )


def open_regions(path: Path, level: int = 0) -> RegionReader:
    """A reader for one level of a large image, to be closed after use.

    Raises DataError SK-D004 (damaged), SK-D015 (several planes) or SK-D045 (no such level, or not
    to be read by region), EnvironmentFault SK-E003 (zarr is not installed).
    """
    plugin = None if is_zarr(path) else _plugins().get(_suffix(path))
    opener: Opener = ZarrRegions if is_zarr(path) else TiffRegions
    if plugin is not None:
        opener = imported(plugin, f"reads {_suffix(path)}")
    try:
        if not path.is_dir():
            require_plain(path)
        return opener(path, level)
    except SegkitError:
        raise
    # Readers raise whatever comes to them on damaged files.
    except Exception as error:
        raise DataError(
            "SK-D004",
            f"{path} cannot be opened to be read by region ({type(error).__name__}: "
            f"{first_line(error)}).",
            "Copy or download the file again.",
        ) from error


def _mask_suffix(path: Path, level: int, readers: Collection[str]) -> str:
    """.zarr or .tif for what is read by region, .png for what is read whole."""
    if is_zarr(path):
        return ZARR
    suffix = _suffix(path)
    if suffix in SCANNED or suffix in readers:
        return ".tif"
    by_region = suffix in TIFF and path.is_file() and (level or is_slide(path, LARGE))
    return ".tif" if by_region else ".png"


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _plugins() -> dict[str, EntryPoint]:
    """Readers that installed distributions declare, by suffix; none of them is imported."""
    return {f".{name.lower()}": point for name, point in declared(GROUP).items()}
