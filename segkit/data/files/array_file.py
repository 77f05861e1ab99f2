"""An array in a file, of which the rows that are asked for are read."""

from __future__ import annotations

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
            with FileIO(self.path) as file:
                file.seek(self.start + first * band[0].nbytes)
                whole = file.readinto(band.data) == band.nbytes
        except OSError:
            whole = False
        return band[:, columns] if whole else self.instead()[part]
