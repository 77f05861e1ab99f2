"""An array in a file, of which the rows that are asked for are read."""

from __future__ import annotations

from collections.abc import Callable
from io import FileIO
from typing import Any

import numpy as np


class ArrayFile:
    """Behaves as the array in taking a part; the file stays open as long as this object lives.

    start    bytes before the array
    instead  gives the whole array where the file turns out to be cut short

    Raises OSError where the file cannot be opened.
    """

    def __init__(
        self,
        path: str,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        start: int,
        instead: Callable[[], np.ndarray],
    ) -> None:
        self.dtype, self.shape, self.start, self.instead = dtype, shape, start, instead
        # Unbuffered: a part is one read into the array that is returned.
        self.file = FileIO(path)

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        rows, columns = part
        first, last, _ = rows.indices(self.shape[0])
        band = np.empty((last - first, *self.shape[1:]), self.dtype)
        self.file.seek(self.start + first * band[0].nbytes)
        if self.file.readinto(band.data) != band.nbytes:
            band = self.instead()[rows]
        return band[:, columns]
