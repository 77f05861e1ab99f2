"""TIFF by region: tiled and striped, OME-TIFF, pyramids, COG, and slides that are TIFF inside."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from segkit.data.files.decoding import ORIENTATION_TAG
from segkit.data.files.spacing import Spacing, read_spacing
from segkit.errors import DataError

# Decoded tiles and strips that are kept, bytes: those of a row of regions, mostly.
KEPT = 2**29
# One tile or strip may take so much.
LARGEST_SEGMENT = 2**29
JPEG = {6, 7, 33007, 34892}
PLAIN = (
    tifffile.PHOTOMETRIC.MINISBLACK,
    tifffile.PHOTOMETRIC.MINISWHITE,
    tifffile.PHOTOMETRIC.RGB,
    tifffile.PHOTOMETRIC.PALETTE,
)
PLANES = "one plane of one channel each, or of 1 to 4 samples a pixel"


class TiffRegions:
    """One level of the first image in a TIFF; decodes only the tiles or strips that are touched.

    Raises DataError SK-D045 for what cannot be read so, SK-D004 for what is damaged.
    """

    def __init__(self, path: Path, level: int = 0) -> None:
        self.path = path
        self._file = tifffile.TiffFile(path)
        try:
            self._open(level)
        except BaseException:
            self._file.close()
            raise

    def _open(self, level: int) -> None:
        found = self._file.series[0].levels
        self.levels = tuple(_size(each) for each in found)
        refuse_level(self.path, level, self.levels)
        series = found[level]
        self._pages = _planes(self.path, series)
        page = self._page = self._pages[0].keyframe
        _refuse_unreadable(self.path, page)
        self._colours = _colours(page)
        samples = 3 if self._colours is not None else page.samplesperpixel
        self.shape = (page.imagelength, page.imagewidth, samples * len(self._pages))
        self.dtype = np.dtype(np.uint8 if self._colours is not None else page.dtype)
        self.alpha = tuple(page.extrasamples) == (2,) and samples in (2, 4)
        finest, spacing = self.levels[0], read_spacing(self.path)
        self.spacing = spacing and Spacing(
            spacing.y * finest[0] / self.shape[0],
            spacing.x * finest[1] / self.shape[1],
            spacing.unit,
        )
        self._kept: OrderedDict[tuple[int, int], tuple[tuple[int, ...], NDArray[Any]]]
        self._kept, self._kept_bytes = OrderedDict(), 0

    def close(self) -> None:
        self._file.close()

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """(h, w, C) as stored: black is 0 and palettes are colours."""
        size = rows.stop - rows.start, columns.stop - columns.start
        try:
            planes = [self._plane(n, rows, columns, size) for n in range(len(self._pages))]
        # Decoders raise whatever comes to them on damaged files.
        except Exception as error:
            raise DataError(
                "SK-D004",
                f"{self.path} is damaged in rows {rows.start} to {rows.stop} and columns "
                f"{columns.start} to {columns.stop} ({type(error).__name__}: {error}).",
                "Copy or download the file again.",
            ) from error
        stored_HWC = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
        if self._page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            if stored_HWC.dtype.kind == "u":
                stored_HWC = np.iinfo(stored_HWC.dtype).max - stored_HWC
            elif stored_HWC.dtype == bool:
                stored_HWC = ~stored_HWC
        if self._colours is not None:
            return self._colours[np.minimum(stored_HWC[..., 0], len(self._colours) - 1)]
        return stored_HWC

    def _plane(
        self, number: int, rows: slice, columns: slice, size: tuple[int, int]
    ) -> NDArray[Any]:
        """A page's part, (h, w, its samples)."""
        page, keyframe = self._pages[number], self._page
        if keyframe.is_memmappable and not keyframe.is_tiled and keyframe.planarconfig == 1:
            return self._uncompressed(page, rows)[:, columns]
        out_HWS = np.zeros((*size, keyframe.samplesperpixel), self._stored_type)
        for index in self._touched(rows, columns):
            place, segment_HWS = self._segment(number, index)
            sample, _, top, left, _ = place
            height, width, samples = segment_HWS.shape
            into = _shared(rows, top, height), _shared(columns, left, width)
            from_ = (
                slice(into[0].start + rows.start - top, into[0].stop + rows.start - top),
                slice(into[1].start + columns.start - left, into[1].stop + columns.start - left),
            )
            out_HWS[*into, sample : sample + samples] = segment_HWS[*from_]
        return out_HWS

    @property
    def _stored_type(self) -> np.dtype[Any]:
        return np.dtype(self._page.dtype)

    def _uncompressed(self, page: Any, rows: slice) -> NDArray[Any]:
        """Full rows, read from where they lie."""
        shape = (rows.stop - rows.start, self._page.imagewidth, self._page.samplesperpixel)
        stored = self._stored_type.newbyteorder(self._file.byteorder)
        row_bytes = shape[1] * shape[2] * stored.itemsize
        handle = self._file.filehandle
        handle.seek(page.dataoffsets[0] + rows.start * row_bytes)
        content = handle.read(shape[0] * row_bytes)
        return np.frombuffer(content, stored).reshape(shape).astype(self._stored_type, copy=False)

    def _touched(self, rows: slice, columns: slice) -> list[int]:
        """Numbers of the tiles or strips that hold some of these pixels."""
        page = self._page
        height, width = page.imagelength, page.imagewidth
        if page.is_tiled:
            across, down = -(-width // page.tilewidth), -(-height // page.tilelength)
            of_rows = range(rows.start // page.tilelength, -(-rows.stop // page.tilelength))
            of_columns = range(columns.start // page.tilewidth, -(-columns.stop // page.tilewidth))
        else:
            strip = min(page.rowsperstrip, height)
            across, down = 1, -(-height // strip)
            of_rows, of_columns = range(rows.start // strip, -(-rows.stop // strip)), range(1)
        separate = page.samplesperpixel if page.planarconfig == 2 else 1
        return [
            (sample * down + row) * across + column
            for sample in range(separate)
            for row in of_rows
            for column in of_columns
        ]

    def _segment(self, number: int, index: int) -> tuple[tuple[int, ...], NDArray[Any]]:
        """(where it begins, its pixels (h, w, samples)), decoded or from among those kept."""
        key = number, index
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        page, keyframe = self._pages[number], self._page
        handle = self._file.filehandle
        content = None
        if page.databytecounts[index]:
            handle.seek(page.dataoffsets[index])
            content = handle.read(page.databytecounts[index])
            if len(content) < page.databytecounts[index]:
                raise EOFError("its data end before the picture does")
        tables = {}
        if keyframe.compression in JPEG:
            tables = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
        decoded, place, shape = keyframe.decode(content, index, **tables)
        if decoded is None:  # left out where a tile is all background
            decoded = np.full(shape, keyframe.nodata, self._stored_type)
        found = place, decoded[0]
        self._kept[key] = found
        self._kept_bytes += decoded.nbytes
        while self._kept_bytes > KEPT and len(self._kept) > 1:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._kept_bytes -= dropped.nbytes
        return found


def is_slide(path: Path, large: int) -> bool:
    """Whether a TIFF's first image has more than `large` pixels, or several levels; False for what
    is no TIFF."""
    try:
        with tifffile.TiffFile(path) as opened:
            page = opened.pages.first
            too_large = page.imagelength * page.imagewidth > large
            return too_large or len(opened.series[0].levels) > 1
    # tifffile raises what it likes on damaged files.
    except Exception:
        return False


def refuse_level(path: Path, level: int, levels: tuple[tuple[int, int], ...]) -> None:
    """Raises DataError SK-D045 where the pyramid has no such level."""
    if level < len(levels):
        return
    if len(levels) < 2:
        raise DataError(
            "SK-D045",
            f"{path} is no pyramid: it has no level {level}.",
            "Leave out --level for it.",
        )
    sizes = ", ".join(f"{n}: {h} x {w}" for n, (h, w) in enumerate(levels))
    raise DataError(
        "SK-D045",
        f"{path} has no level {level}; it has {sizes} (height x width).",
        f"Give --level 0 to {len(levels) - 1}, or leave it out for the finest.",
    )


def _size(series: Any) -> tuple[int, int]:
    page = series.keyframe
    return int(page.imagelength), int(page.imagewidth)


def _planes(path: Path, series: Any) -> list[Any]:
    """The pages of one image: one, or one for each channel."""
    sizes = dict(zip(series.get_axes(squeeze=False), series.get_shape(squeeze=False), strict=True))
    pages = [page for page in series.pages if page is not None]
    others = {axis: size for axis, size in sizes.items() if axis not in "YXSC" and size > 1}
    samples = series.keyframe.samplesperpixel
    if others or (len(pages) > 1 and (samples > 1 or sizes.get("C") != len(pages))):
        told = ", ".join(f"{axis} {size}" for axis, size in sizes.items())
        raise DataError(
            "SK-D015",
            f"{path} holds {len(pages)} planes ({told}), and which is meant is not said.",
            f"Save the plane you mean as a file of its own: an image is {PLANES}.",
        )
    return pages


def _refuse_unreadable(path: Path, page: Any) -> None:
    jpeg = page.photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression in JPEG
    turned = page.tags.valueof(ORIENTATION_TAG, 1) != 1
    if page.dtype is None or turned or (page.photometric not in PLAIN and not jpeg):
        kind = "turned by its orientation tag" if turned else f"stored as {page.photometric.name}"
        raise DataError(
            "SK-D045",
            f"{path} is {kind}, which is not read by region.",
            "Convert it to a tiled TIFF of grey or RGB.",
        )
    if page.is_memmappable and not page.is_tiled:
        return
    rows = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
    columns = page.tilewidth if page.is_tiled else page.imagewidth
    samples = 1 if page.planarconfig == 2 else page.samplesperpixel
    most = rows * columns * samples * np.dtype(page.dtype).itemsize * max(1, page.tiledepth)
    if most > LARGEST_SEGMENT:
        part = "tile" if page.is_tiled else "strip"
        raise DataError(
            "SK-D045",
            f"{path} is compressed in {part}s of {rows} x {columns} pixels (height x width): each "
            f"takes {most / 2**30:.1f} GiB, and is read whole or not at all.",
            "Save it as a tiled TIFF, or in strips of fewer rows.",
        )


def _colours(page: Any) -> NDArray[np.uint8] | None:
    """(N, 3) of a palette, else None."""
    if page.photometric != tifffile.PHOTOMETRIC.PALETTE or page.colormap is None:
        return None
    return (page.colormap >> 8).astype(np.uint8).T


def _shared(asked: slice, start: int, length: int) -> slice:
    """The part of what is asked for that a segment holds, counted from where asking begins."""
    first, last = max(asked.start, start), min(asked.stop, start + length)
    return slice(first - asked.start, max(first, last) - asked.start)
