"""OME-Zarr written band by band (format 0.4 and 0.5): labels, and maps of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.data.files.spacing import Spacing
from segkit.inference.slides.ome_zarr import LONG_UNITS


def write_planes(
    folder: Path,
    planes: Sequence[Iterator[NDArray[np.integer]]],
    size: tuple[int, int],
    dtype: np.dtype[Any],
    channels: Sequence[str] = (),
    *,
    spacing: Spacing | None,
    version: int,
    labels: bool = False,
    side: int = 512,
) -> None:
    """An OME-Zarr image of one level, band by band; `folder` is there and empty.

    planes    of each, its rows (h, W) from the top
    channels  the planes' names; none: there is one, without an axis of channels
    version   of the Zarr format, 2 (OME-Zarr 0.4) or 3 (0.5)
    labels    whether its pixels are labels
    """
    import zarr

    group = zarr.open_group(folder, mode="w", zarr_format=3 if version == 3 else 2)
    shape: tuple[int, ...] = size
    chunks: tuple[int, ...] = (min(side, size[0]), min(side, size[1]))
    if channels:
        shape, chunks = (len(channels), *size), (1, *chunks)
    stored: Any = group.create_array("0", shape=shape, dtype=dtype, chunks=chunks)
    for channel, bands in enumerate(planes):
        top = 0
        for band_hW in bands:
            rows = slice(top, top + len(band_hW))
            stored[(channel, rows) if channels else rows] = band_hW
            top += len(band_hW)
    said = _told(folder.stem, channels, int(np.iinfo(dtype).max), spacing)
    if labels:
        said["image-label"] = {"version": "0.5" if version == 3 else "0.4"}
    if version == 3:
        group.attrs["ome"] = {"version": "0.5", **said}
    else:
        said["multiscales"][0]["version"] = "0.4"
        group.attrs.update(said)


def _told(
    name: str, channels: Sequence[str], white: int, spacing: Spacing | None
) -> dict[str, Any]:
    """What an image of one level says of itself."""
    unit = {short: long for long, short in LONG_UNITS.items()}.get(spacing.unit) if spacing else ""
    axis = {"type": "space", **({"unit": unit} if unit else {})}
    axes = [{"name": "y", **axis}, {"name": "x", **axis}]
    scale = [spacing.y, spacing.x] if spacing else [1.0, 1.0]
    said: dict[str, Any] = {}
    if channels:
        axes, scale = [{"name": "c", "type": "channel"}, *axes], [1.0, *scale]
        window = {"min": 0, "max": white, "start": 0, "end": white}
        said["omero"] = {
            "channels": [{"label": n, "color": "FFFFFF", "window": window} for n in channels]
        }
    transformations = [{"type": "scale", "scale": scale}]
    dataset = {"path": "0", "coordinateTransformations": transformations}
    return {"multiscales": [{"name": name, "axes": axes, "datasets": [dataset]}], **said}
