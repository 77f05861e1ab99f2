"""Regions as a network is given them: depth, channels, black and white are the whole image's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.data.files.decoding import Decoded
from segkit.data.files.images import as_image, fit_channels
from segkit.data.files.reading import Reading
from segkit.data.intensity import COUNTED, Intensity, misfit_error, percentiles, recorded, white_of
from segkit.errors import DataError
from segkit.inference.reading import Given
from segkit.inference.slides.regions import Region, RegionReader
from segkit.model.network import ModelRecord

# Rows read at a time by whoever has to see the whole image first.
BAND = 256
KNOWN = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(bool))


@dataclass(frozen=True)
class GivenRegions:
    """Gives the pixels of any region as `as_trained` would have them from the whole image.

    scaling   black and white, measured over the whole image where each image has its own
    narrowed  whether other whole numbers are all between 0 and 65535, and so are 16 bits
    checked   whether the image's values were found to fit the model's already
    """

    reader: RegionReader
    path: Path
    reading: Reading
    channels: int
    scaling: Intensity
    narrowed: bool
    checked: bool

    def __call__(self, region: Region) -> Given:
        return self.part(*region.seen)

    def part(self, rows: slice, columns: slice) -> Given:
        """Raises DataError SK-D016 (NaN), SK-D034 (values the model does not know)."""
        image_HWC = fit_channels(
            _as_image(self.reader, self.path, self.reading, self.narrowed, rows, columns),
            self.channels,
            str(self.path),
        )
        if not self.checked:
            self.scaling.refuse_misfit(str(self.path), image_HWC)
        scale = self.scaling.full_scale(image_HWC.dtype)
        return Given(np.ascontiguousarray(self.scaling.applied(image_HWC)), scale, str(self.path))


def given_regions(
    reader: RegionReader,
    path: Path,
    record: ModelRecord,
    reading: Reading,
    intensity: Intensity | None,
) -> GivenRegions:
    """Looks through the whole image first where its values decide: floating point, whole numbers of
    unusual width, and `per-image`.

    Raises DataError SK-D011 (channels), SK-D016, SK-D034.
    """
    scaling = intensity or recorded(record.training)
    fit_channels(np.zeros((1, 1, reader.shape[2]), np.uint8), record.in_channels, str(path))
    per_image = scaling.scaling == "per-image"
    if reader.dtype in KNOWN and not per_image:
        return GivenRegions(reader, path, reading, record.in_channels, scaling, False, False)
    if reader.dtype.kind not in "buif":
        raise DataError("SK-D045", f"{path} holds values of type {reader.dtype}, no image's.")
    narrowed = False
    if reader.dtype not in KNOWN and reader.dtype.kind in "ui":
        parts = [(part.min(), part.max()) for part in _bands(reader)]
        signed = reader.dtype.kind == "i"
        narrowed = signed and min(p[0] for p in parts) >= 0 and max(p[1] for p in parts) <= 65535

    def images() -> Iterator[NDArray[Any]]:
        for rows in _rows(reader):
            whole = slice(0, reader.shape[1])
            part = _as_image(reader, path, reading, narrowed, rows, whole)
            yield fit_channels(part, record.in_channels, str(path))

    if per_image:
        black, white = percentiles([_spread(images(), reader.shape[:2], record.in_channels)])
        scaling = Intensity("percentile", black, white)
    else:
        ends = [(float(part.min()), float(part.max())) for part in images()]
        lowest, highest = min(e[0] for e in ends), max(e[1] for e in ends)
        kind = np.dtype(np.uint16 if narrowed else np.float32)
        if wrong := scaling.misfit(kind, lowest, highest):
            raise misfit_error(f"{path}: {wrong}", white_of(highest, str(kind)))
    return GivenRegions(reader, path, reading, record.in_channels, scaling, narrowed, True)


def _as_image(
    reader: RegionReader,
    path: Path,
    reading: Reading,
    narrowed: bool,
    rows: slice,
    columns: slice,
) -> NDArray[Any]:
    stored_HWC = reader.read(rows, columns)
    if stored_HWC.dtype not in KNOWN:
        # The part's own values must not decide what the image's type is.
        stored_HWC = stored_HWC.astype(np.uint16 if narrowed else np.float32)
    mode = {2: "LA", 4: "RGBA"}.get(reader.shape[2], "") if reader.alpha else ""
    return as_image(path, Decoded(stored_HWC, mode, ""), reading)


def _rows(reader: RegionReader) -> Iterator[slice]:
    height = reader.shape[0]
    for top in range(0, height, BAND):
        yield slice(top, min(top + BAND, height))


def _bands(reader: RegionReader) -> Iterator[NDArray[Any]]:
    for rows in _rows(reader):
        yield reader.read(rows, slice(0, reader.shape[1]))


def _spread(
    parts: Iterator[NDArray[Any]], size: tuple[int, ...], channels: int
) -> NDArray[np.generic]:
    """The values that `percentiles` would take from the whole image."""
    step = max(1, size[0] * size[1] * channels // COUNTED)
    taken, before = [], 0
    for part in parts:
        values = part.reshape(-1)
        taken.append(values[-before % step :: step])
        before += values.size
    return np.concatenate(taken)
