"""An array in a file, of which the rows that are asked for are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import FileIO
from typing import Any

import numpy as np


class ArrayFile:
    """Behaves as the array in taking a part.

    start    bytes before the array
    instead  gives the whole array where the file turns out to be gone or cut short
    """

    def __init__(
        self,
        path: str,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        start: int,
        instead: Callable[[], np.ndarray],
    ) -> None:
        self.path, self.dtype, self.shape = path, dtype, shape
        self.start, self.instead = start, instead

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        rows, columns = part
        first, last, _ = rows.indices(self.shape[0])
        band = np.empty((last - first, *self.shape[1:]), self.dtype)
        try:
            whole = read_at(self.path, self.start + first * band[:1].nbytes, band) == band.nbytes
        except OSError:
            whole = False
        return band[:, columns] if whole else self.instead()[part]


def read_at(path: str, place: int, room: np.ndarray) -> int:
    """Reads what follows that byte of a file into an array; how many bytes there were."""
    if not hasattr(os, "preadv"):
        with FileIO(path) as file:
            file.seek(place)
            return file.readinto(room.data) or 0
    # A file object takes as long to make as the system takes to read.
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.preadv(opened, [room.data], place)
    finally:
        os.close(opened)
