"""NumPy's .npy files: their header is read and judged first, and nothing in them is ever run.

The format is that of numpy.lib.format (NEP 1). Objects, which NumPy would unpickle, are refused.
"""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np

from segkit.data.files.reading import Reading
from segkit.errors import DataError

MAGIC = b"\x93NUMPY"
READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def is_npy(content: bytes) -> bool:
    return content.startswith(MAGIC)


def read_npy(path: Path, content: bytes, code: str, reading: Reading) -> np.ndarray:
    """(H, W) or (H, W, C) of bool, whole numbers or floating point, in this machine's byte order.

    Channels may come first: they are the shorter one of the first and the last dimension. Raises
    DataError SK-D014 (too large), and `code` where it is cut short or no picture; whatever NumPy
    raises on a damaged header.
    """
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in READERS:
        raise _no_picture(path, "fields with names", code)
    shape, by_columns, dtype = READERS[version](file)
    if dtype.kind not in "biuf":
        objects = dtype.hasobject
        raise _no_picture(path, "Python objects, which are never opened" * objects or dtype, code)
    shape = _without_ones(shape)
    if len(shape) not in (2, 3) or 0 in shape:
        raise _no_picture(path, f"an array of shape {' x '.join(map(str, shape)) or '()'}", code)
    first = len(shape) == 3 and shape[0] < shape[2]
    height, width = shape[1:] if first else shape[:2]
    channels = math.prod(shape) // (height * width)
    reading.check_pixels(path, height, width, channels * dtype.itemsize)
    if len(content) - file.tell() < math.prod(shape) * dtype.itemsize:
        raise EOFError(f"{len(content)} bytes hold less than its header says")
    values = np.frombuffer(content, dtype, math.prod(shape), file.tell())
    pixels = values.reshape(shape, order="F" if by_columns else "C")
    pixels = np.moveaxis(pixels, 0, -1) if first else pixels
    return np.ascontiguousarray(pixels, dtype.newbyteorder("="))


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(1, H, W) and (H, W, 1) are (H, W), and a batch of one is an image."""
    while len(shape) > 2 and 1 in (shape[0], shape[-1]):
        shape = shape[1:] if shape[0] == 1 else shape[:-1]
    return shape


def _no_picture(path: Path, holds: object, code: str) -> DataError:
    return DataError(
        code,
        f"{path} holds {holds}: no picture and no mask.",
        "Save plain numbers, (H, W) or (H, W, C): numpy.save('a.npy', labels.astype('uint8')).",
    )
