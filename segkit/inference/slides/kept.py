"""The labels of regions that are done, in one file beside the mask: what a stop leaves."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from segkit.inference.slides.regions import Cut
from segkit.storage import storage_errors

# Before each region: its number, the bytes that follow and their CRC-32.
HEADER = struct.Struct("<QQI")
SUFFIX = ".regions"


class KeptRegions:
    """Regions' labels as they come, zlib-packed; of what was cut off by a kill nothing counts."""

    def __init__(self, file: Path, conditions: Mapping[str, Any], dtype: np.dtype[Any]) -> None:
        self.file, self.dtype = file, dtype
        self._places: dict[int, tuple[int, int]] = {}
        first = json.dumps(conditions, sort_keys=True).encode() + b"\n"
        with storage_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            self._opened: BinaryIO = file.open("r+b" if file.exists() else "w+b")
            if self._opened.readline() == first:
                end = self._read_places(len(first))
            else:
                self._opened.seek(0)
                self._opened.write(first)
                end = len(first)
            self._opened.truncate(end)

    def __contains__(self, number: int) -> bool:
        return number in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, number: int, label_HW: NDArray[np.integer] | NDArray[np.floating]) -> None:
        """Writes down a region that is done."""
        packed = zlib.compress(label_HW.astype(self.dtype).tobytes(), 1)
        with storage_errors(self.file):
            place = self._opened.seek(0, 2)
            self._opened.write(HEADER.pack(number, len(packed), zlib.crc32(packed)) + packed)
            self._opened.flush()
        self._places[number] = (place + HEADER.size, len(packed))

    def read(self, number: int, size: tuple[int, int]) -> NDArray[np.integer]:
        """A region's labels, (h, w)."""
        place, length = self._places[number]
        self._opened.seek(place)
        packed = self._opened.read(length)
        return np.frombuffer(zlib.decompress(packed), self.dtype).reshape(size)

    def bands(
        self, cut: Cut, number_of: Callable[[int], int] = lambda number: number
    ) -> Iterator[NDArray[np.integer]]:
        """Rows of labels (h, W), from the top, of regions that are all done.

        number_of   under which number a region is kept
        """
        for band in cut.bands():
            parts = [self.read(number_of(each.number), each.size) for each in band]
            yield np.concatenate(parts, axis=1)

    def close(self) -> None:
        self._opened.close()

    def _read_places(self, place: int) -> int:
        """Finds the whole regions; returns where the last of them ends."""
        while len(header := self._opened.read(HEADER.size)) == HEADER.size:
            number, length, crc = HEADER.unpack(header)
            packed = self._opened.read(length)
            if len(packed) < length or zlib.crc32(packed) != crc:
                break
            self._places[number] = (place + HEADER.size, length)
            place += HEADER.size + length
        return place
