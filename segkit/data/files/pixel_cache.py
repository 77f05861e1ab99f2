"""Decoded pixels and masks, cached on disk outside the data: from the second epoch on, no JPEG.

A set (one data folder, read in one way) is a folder of entries; an entry is one array, named by the
hash of its content and mapped into memory when it is read. Entries are written to a temporary file
and renamed, so that several processes may write at once and a killed one leaves nothing half done.
A checksum, verified when a process first meets an entry, finds what the disk itself has damaged.
Where the cache as a whole would outgrow its limit, the sets unused for longest are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segkit.data.files.array_file import ArrayFile
from segkit.data.files.facts import cache_folder, stamp
from segkit.data.stored import Window
from segkit.errors import UsageError
from segkit.storage import TEMPORARY, new_file

# Raise it where entries change their form or images are decoded to other numbers.
VERSION = 1
HEADER_BYTES = 256
TYPES = ("uint8", "uint16", "int32", "int64", "float32")
LIMIT_GB = 10.0
# Of the space that is free, so that a cache never fills a disk.
SHARE_OF_FREE = 0.5
STALE_SECONDS = 3600.0

Stamp = tuple[int, int]


class PixelCache:
    """The entries of one set; safe to send to other processes.

    folder   where they lie; it appears with the first entry
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Type and shape of the entries whose checksum this process has verified.
        self.verified: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}

    def array(
        self, name: str, seen: Mapping[Path, Stamp], read: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """The entry, or what `read` gives, which becomes the entry; changes to it change no file.

        seen   size and time of change of each file when `name` was made of their content; where
               one has changed since, they are read anew and not cached
        """
        if not _unchanged(seen):
            return read()
        found = self._load(name)
        if found is not None:
            return found
        array = np.ascontiguousarray(read())
        if _unchanged(seen):
            self._write(name, array)
        return array

    def window(
        self, name: str, seen: Mapping[Path, Stamp], read: Callable[[], np.ndarray]
    ) -> Window:
        """As `array`, reading no more than the parts that are then asked for."""
        if name not in self.verified or not _unchanged(seen):
            return self.array(name, seen, read)
        kind, shape = self.verified[name]
        anew = partial(self.array, name, seen, read)
        return ArrayFile(f"{self.folder}/{name}", kind, shape, HEADER_BYTES, anew)

    def _load(self, name: str) -> np.ndarray | None:
        """The entry as a map of its file; None where it is missing or damaged."""
        path = self.folder / name
        try:
            with path.open("rb") as file:
                header = json.loads(file.read(HEADER_BYTES))
            if header["type"] not in TYPES:
                return None
            shape = tuple(int(side) for side in header["shape"])
            # A map of fewer bytes than its shape needs raises ValueError.
            mapped = np.memmap(path, header["type"], "c", HEADER_BYTES, shape)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        array = np.asarray(mapped)
        if name not in self.verified:
            if zlib.crc32(array.data) != header["crc32"]:
                return None
            self.verified[name] = (array.dtype, shape)
        return array

    def _write(self, name: str, array: np.ndarray) -> None:
        if array.dtype.name not in TYPES or not array.size:
            return
        header = {"type": array.dtype.name, "shape": array.shape, "crc32": zlib.crc32(array.data)}
        # A full disk, or a set removed meanwhile, costs time and nothing else.
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            with (
                new_file(self.folder / name, durable=False) as work,
                work.open("wb") as file,
            ):
                file.write(json.dumps(header).encode().ljust(HEADER_BYTES))
                file.write(array.data)


def _unchanged(seen: Mapping[Path, Stamp]) -> bool:
    for file, before in seen.items():  # noqa: SIM110 - for every sample: a generator takes longer
        if stamp(file) != before:
            return False
    return True


def entry_name(*content: object) -> str:
    """A name for an entry, of all that decides its numbers."""
    return hashlib.blake2b(repr(content).encode(), digest_size=16).hexdigest()


def pixels_folder() -> Path:
    return cache_folder().parent / "pixels"


def set_folder(root: Path, *how: object) -> Path:
    """Where the entries of a data folder lie when it is read in this way."""
    whose = repr((VERSION, str(root.resolve()), *how))
    return pixels_folder() / hashlib.blake2b(whose.encode(), digest_size=12).hexdigest()


def limit_bytes() -> int:
    """SEGKIT_CACHE_GB (10 where it is not set), in bytes; raises UsageError SK-C009."""
    given = os.environ.get("SEGKIT_CACHE_GB", str(LIMIT_GB))
    try:
        gigabytes = float(given)
    except ValueError:
        gigabytes = -1.0
    if not gigabytes >= 0:
        raise UsageError(
            "SK-C009",
            f"SEGKIT_CACHE_GB is '{given}'.",
            "It is the largest size of the cache of decoded pixels, in gigabytes.",
        )
    return int(min(gigabytes, 1e9) * 1e9)


def open_cache(
    folder: Path, names: Iterable[str], need: int, mode: str
) -> tuple[PixelCache | None, str]:
    """The cache of a set whose entries take `need` bytes, or None, and a sentence that says why.

    names   of all entries it may hold: others, of files that have changed, are removed
    mode    "auto": used where it fits; "on": raises UsageError SK-C009 where it does not
    """
    parent = folder.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        free = shutil.disk_usage(parent).free
    except OSError as error:
        return (
            None,
            f"Decoded pixels are not cached: {parent} cannot be written ({error.strerror}).",
        )
    _prune(folder, set(names))
    sizes = {each: _size_of(each) for each in parent.iterdir() if each.is_dir()}
    limit = min(limit_bytes(), sum(sizes.values()) + int(SHARE_OF_FREE * free))
    if need > limit:
        what = f"the decoded pixels take {size(need)}, and {parent} may hold {size(limit)}"
        if mode == "on":
            raise UsageError(
                "SK-C009", f"{what}.", "Set SEGKIT_CACHE_GB to more gigabytes, or cache to auto."
            )
        return None, f"Every epoch decodes the files: {what} (SEGKIT_CACHE_GB)."
    del sizes[folder]
    _evict(sizes, limit - need)
    return PixelCache(folder), f"Decoded pixels are cached in {parent}: {size(need)}."


def _prune(folder: Path, names: set[str]) -> None:
    """Removes entries of files that have changed, and what killed processes left behind."""
    for path in folder.iterdir():
        being_written = TEMPORARY in path.name
        old = being_written and _seconds_since_change(path) > STALE_SECONDS
        if old or (not being_written and path.name not in names):
            with contextlib.suppress(OSError):
                path.unlink()


def _seconds_since_change(path: Path) -> float:
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime
    return 0.0


def _evict(sizes: Mapping[Path, int], allowed: int) -> None:
    """Removes sets, those unused for longest first, until the others take at most `allowed`."""
    total = sum(sizes.values())
    for folder in sorted(sizes, key=_seconds_since_change, reverse=True):
        if total <= allowed:
            return
        # A process that reads it keeps its maps, and decodes the rest anew.
        shutil.rmtree(folder, ignore_errors=True)
        total -= sizes[folder]


def _size_of(folder: Path) -> int:
    total = 0
    # Another process may be removing it.
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            total += entry.stat().st_size
    return total


def size(count: float) -> str:
    """Bytes for people: 1.2 GB."""
    unit = "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.3g} {unit}"
