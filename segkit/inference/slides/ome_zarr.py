"""OME-Zarr read by region (format 0.4 and 0.5): images, and wells of plates.

What a store says of itself is read as JSON before zarr opens it: zarr's codecs are code, and one of
them unpickles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segkit.data.files.spacing import UNITS, Spacing
from segkit.errors import DataError, EnvironmentFault
from segkit.inference.slides.tiff import refuse_level
from segkit.storage import read_json

if TYPE_CHECKING:
    import zarr

SUFFIX = ".zarr"
INSTALL = "python -m pip install 'segkit-core[slides]'"
LARGEST_JSON, LARGEST_CHUNK = 10_000_000, 2**29
CODECS = frozenset(
    (
        *("bytes", "endian", "transpose", "crc32c", "sharding_indexed"),
        *("blosc", "gzip", "zstd", "zlib", "lz4", "bz2", "lzma", "shuffle", "delta"),
    )
)
LONG_UNITS = {"micrometer": "\u00b5m", "nanometer": "nm", "millimeter": "mm", "centimeter": "cm"}
LONG_UNITS |= {"meter": "m"}
Json = Mapping[str, Any]


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr group."""
    return folder.is_dir() and any((folder / n).is_file() for n in ("zarr.json", ".zgroup"))


def images_in(folder: Path) -> list[Path]:
    """The images of a Zarr group: itself, or the fields of every well where it is a plate.

    Raises DataError SK-D045 where it is neither.
    """
    said = _said(folder)
    if "plate" in said:
        wells = [_inside(folder, each["path"]) for each in said["plate"].get("wells", [])]
        return [
            _inside(well, each["path"])
            for well in wells
            for each in _said(well).get("well", {}).get("images", [])
        ]
    if "multiscales" in said:
        return [folder]
    raise DataError(
        "SK-D045",
        f"{folder} is a Zarr group without an OME image: it says no multiscales and no plate.",
        "Give the folder of the image within it, or write it as OME-Zarr.",
    )


class ZarrRegions:
    """One level of an OME-Zarr image; reads the chunks that are touched.

    Raises EnvironmentFault SK-E003 without zarr, DataError SK-D045 for what cannot be read so.
    """

    alpha = False

    def __init__(self, path: Path, level: int = 0) -> None:
        require_zarr()
        self.path = path
        multiscale = _said(path)["multiscales"][0]
        datasets = multiscale["datasets"]
        arrays = [_array(_inside(path, each["path"])) for each in datasets]
        axes = multiscale.get("axes") or []
        names = [each["name"] if isinstance(each, Mapping) else str(each) for each in axes]
        self._axes = names or list("tczyx")[-len(arrays[0].shape) :]
        if sorted(set(self._axes) & {"y", "x"}) != ["x", "y"]:
            raise DataError("SK-D045", f"{path} has the axes {self._axes}, not y and x among them.")
        y, x = self._axes.index("y"), self._axes.index("x")
        self.levels = tuple((int(each.shape[y]), int(each.shape[x])) for each in arrays)
        refuse_level(path, level, self.levels)
        self._stored = arrays[level]
        sizes = dict(zip(self._axes, self._stored.shape, strict=True))
        others = {axis: size for axis, size in sizes.items() if axis not in "cyx" and size > 1}
        if others:
            told = ", ".join(f"{axis} {size}" for axis, size in others.items())
            raise DataError(
                "SK-D015",
                f"{path} holds several planes ({told}), and which is meant is not said.",
                "Save the plane you mean as an image of its own.",
            )
        self.shape = (*self.levels[level], int(sizes.get("c", 1)))
        self.dtype = np.dtype(self._stored.dtype)
        self.spacing = _spacing(multiscale, datasets[level], self._axes)

    @property
    def version(self) -> int:
        """Of the Zarr format: 2 or 3."""
        return int(self._stored.metadata.zarr_format)

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """(h, w, C) as stored."""
        wanted: dict[str, slice | int] = {"y": rows, "x": columns, "c": slice(None)}
        try:
            part = np.asarray(self._stored[tuple(wanted.get(axis, 0) for axis in self._axes)])
        # Codecs raise whatever comes to them on damaged chunks.
        except Exception as error:
            raise DataError(
                "SK-D004",
                f"{self.path} is damaged in rows {rows.start} to {rows.stop} and columns "
                f"{columns.start} to {columns.stop} ({type(error).__name__}: {error}).",
                "Copy or download it again.",
            ) from error
        left = [axis for axis in self._axes if axis in wanted]
        if "c" not in left:
            part, left = part[..., None], [*left, "c"]
        return np.ascontiguousarray(part.transpose([left.index(axis) for axis in "yxc"]))

    def close(self) -> None:
        """Nothing is held open."""


def require_zarr() -> None:
    """Raises EnvironmentFault SK-E003 with the line that installs zarr."""
    from importlib.util import find_spec

    if find_spec("zarr") is None:
        raise EnvironmentFault(
            "SK-E003", "reading OME-Zarr needs zarr, which is not installed here.", INSTALL
        )


def _array(folder: Path) -> zarr.Array[Any]:
    """An array that was found to be numbers, plainly packed, before zarr sees it."""
    import zarr

    v3, v2 = folder / "zarr.json", folder / ".zarray"
    try:
        said = read_json(v3 if v3.is_file() else v2, LARGEST_JSON)
        names = set(_codec_names(said))
        kind = said.get("data_type", said.get("dtype"))
        shape, chunks = said["shape"], said.get("chunks")
        if chunks is None:
            chunks = said["chunk_grid"]["configuration"]["chunk_shape"]
        least = 2 if not isinstance(kind, str) else np.dtype(kind).itemsize
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            "SK-D004",
            f"{folder} says nothing readable of itself ({type(error).__name__}: {error}).",
            "Copy or download it again.",
        ) from error
    if not isinstance(kind, str) or np.dtype(kind).kind not in "buif" or names - CODECS:
        what = ", ".join(sorted(names - CODECS)) or f"values of type {kind}"
        raise DataError(
            "SK-D045",
            f"{folder} holds {what}, which segkit does not open.",
            "Write it with numbers, packed by blosc, gzip or zstd.",
        )
    most = int(np.prod(np.minimum(chunks, shape).astype(np.float64))) * least
    if most > LARGEST_CHUNK:
        raise DataError(
            "SK-D045",
            f"{folder} has chunks of {' x '.join(map(str, chunks))} values: {most / 2**30:.1f} GiB "
            "each, read whole or not at all.",
            "Write it in smaller chunks.",
        )
    return zarr.open_array(folder, mode="r")


def _codec_names(said: Json) -> Iterator[str]:
    if "codecs" in said:
        yield from _nested_names(said["codecs"])
        return
    for each in [said.get("compressor"), *(said.get("filters") or [])]:
        if each is not None:
            yield str(each["id"])


def _nested_names(codecs: Sequence[Json]) -> Iterator[str]:
    for each in codecs:
        yield str(each["name"])
        inner = each.get("configuration") or {}
        for key in ("codecs", "index_codecs"):
            yield from _nested_names(inner.get(key, []))


def _said(folder: Path) -> dict[str, Any]:
    """A group's attributes."""
    v3 = folder / "zarr.json"
    try:
        if v3.is_file():
            found = read_json(v3, LARGEST_JSON).get("attributes") or {}
            return dict(found.get("ome", found))
        attributes = folder / ".zattrs"
        return dict(read_json(attributes, LARGEST_JSON)) if attributes.is_file() else {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(
            "SK-D004",
            f"{folder} says nothing readable of itself ({type(error).__name__}: {error}).",
            "Copy or download it again.",
        ) from error


def _inside(folder: Path, path: object) -> Path:
    """A path that a store names; raises DataError SK-D045 where it leads out of it."""
    parts = PurePosixPath(str(path)).parts
    if not parts or ".." in parts or PurePosixPath(str(path)).is_absolute() or "\\" in str(path):
        raise DataError(
            "SK-D045",
            f"{folder} names the path '{path}', which leads out of it.",
            "Do not open it: no program writes such a file by mistake.",
        )
    return folder.joinpath(*parts)


def _spacing(multiscale: Json, dataset: Json, axes: Sequence[str]) -> Spacing | None:
    """From the scales and units, where both axes have one of length."""
    try:
        factors = np.ones(len(axes))
        for holder in (multiscale, dataset):
            for each in holder.get("coordinateTransformations") or []:
                if each["type"] == "scale":
                    factors = factors * np.array(each["scale"], float)
        units = {
            LONG_UNITS.get(each.get("unit", ""), each.get("unit", ""))
            for each in multiscale["axes"]
            if each["name"] in "yx"
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    y, x = float(factors[axes.index("y")]), float(factors[axes.index("x")])
    (unit,) = units if len(units) == 1 else ("",)
    if unit not in UNITS or not (0 < y < np.inf and 0 < x < np.inf):
        return None
    return Spacing(y, x, UNITS[unit] or unit)
