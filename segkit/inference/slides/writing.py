"""Images of labels and of numbers written band by band, as OME-TIFF in compressed tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import tifffile
from numpy.typing import NDArray

from segkit.data.files.spacing import Spacing
from segkit.reporting.pictures import palette_for

SIDE = 256
# Beyond so many bytes a TIFF needs addresses of eight bytes.
CLASSIC = 2**31
Bands = Iterator[NDArray[np.integer]]


def write_tiff(
    file: Path,
    planes: Sequence[Bands],
    size: tuple[int, int],
    dtype: np.dtype[Any],
    *,
    palette: Sequence[Sequence[int]] = (),
    spacing: Spacing | None,
    name: str,
    channels: Sequence[str] = (),
    description: str = "",
) -> None:
    """An OME-TIFF with a page for each plane; one of bytes with a palette is shown in its colours.

    planes       of each, its rows (h, W) from the top
    name         of the image: with its size it makes the file's UUID, so that equal planes are
                 equal files
    channels     the planes' names; none: there is one, without an axis of channels
    description  what the values say
    """
    metadata: dict[str, Any] = {
        "axes": "CYX" if channels else "YX",
        "Name": name,
        "UUID": f"urn:uuid:{uuid5(NAMESPACE_URL, f'{name} {size}')}",
        "Creator": "segkit",
    }
    if channels:
        metadata["Channel"] = {"Name": list(channels)}
    if description:
        metadata["Description"] = description
    if spacing is not None:
        metadata |= {"PhysicalSizeX": spacing.x, "PhysicalSizeY": spacing.y}
        metadata |= {"PhysicalSizeXUnit": spacing.unit, "PhysicalSizeYUnit": spacing.unit}
    colours: dict[str, Any] = {"photometric": "minisblack"}
    if palette:
        colour_3N = np.array(palette_for(256, palette), np.uint16).T * 257
        colours = {"photometric": "palette", "colormap": colour_3N}
    shape = (len(planes), *size) if channels else size
    large = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize > CLASSIC
    with tifffile.TiffWriter(file, ome=True, bigtiff=large) as writer:
        writer.write(
            chain.from_iterable(_tiles(bands, size) for bands in planes),
            shape=shape,
            dtype=dtype,
            tile=(SIDE, SIDE),
            compression="zlib",
            maxworkers=1,
            metadata=metadata,
            **colours,
        )


def _tiles(bands: Bands, size: tuple[int, int]) -> Iterator[NDArray[np.integer]]:
    """Tiles from left to right and from top to bottom, the last ones filled up with 0."""
    held: list[NDArray[np.integer]] = []
    for band_HW in bands:
        held = [*held, band_HW]
        while sum(map(len, held)) >= SIDE:
            rows_HW = np.concatenate(held)
            held = [rows_HW[SIDE:]]
            yield from _row_of_tiles(rows_HW[:SIDE], size[1])
    if held and (rows_HW := np.concatenate(held)).size:
        filled_HW = np.pad(rows_HW, ((0, SIDE - len(rows_HW)), (0, 0)))
        yield from _row_of_tiles(filled_HW, size[1])


def _row_of_tiles(rows_HW: NDArray[np.integer], width: int) -> Iterator[NDArray[np.integer]]:
    for left in range(0, width, SIDE):
        tile_HW = rows_HW[:, left : left + SIDE]
        missing = SIDE - tile_HW.shape[1]
        yield np.ascontiguousarray(np.pad(tile_HW, ((0, 0), (0, missing))) if missing else tile_HW)
