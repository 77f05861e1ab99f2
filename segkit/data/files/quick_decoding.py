"""The plainest files, decoded faster than Pillow does it, to exactly Pillow's numbers.

For files that were decoded fully when the data set was opened, and have not changed since: damage,
orientation, palettes and alpha were looked at then. OpenCV reads nothing but JPEGs of three
channels, and these only where its libjpeg proves to give what Pillow's gives.
"""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import cv2
import imagecodecs
import numpy as np
from PIL import Image

from segkit.data.files.decoding import PNG_SIGNATURE

# Colour types of a PNG: grey, and index with a palette.
GREY, INDEX = 0, 3
JPEG_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


def quick_jpeg(content: bytes) -> np.ndarray | None:
    """(H, W, 3) uint8 of a JPEG of three channels; None where Pillow has to do it."""
    if not content.startswith(b"\xff\xd8") or not decodes_as_pillow():
        return None
    try:
        image_HWC = cv2.imdecode(np.frombuffer(content, np.uint8), JPEG_FLAGS)
    except cv2.error:
        return None
    return image_HWC


def quick_png(content: bytes) -> np.ndarray | None:
    """(H, W) uint8 of a PNG of 8-bit greys or indices; None where Pillow has to do it."""
    if (
        not content.startswith(PNG_SIGNATURE)
        or content[24] != 8
        or content[25] not in (GREY, INDEX)
    ):
        return None
    try:
        plain = _as_grey(content)
        values_HW = imagecodecs.png_decode(plain)
    except (imagecodecs.PngError, struct.error, IndexError):
        return None
    return values_HW if values_HW.ndim == 2 and values_HW.dtype == np.uint8 else None


def _as_grey(content: bytes) -> bytes:
    """The same pixels without palette and all else: a decoder then gives them as they are."""
    head = content[12:25] + bytes([GREY]) + content[26:29]
    parts = [PNG_SIGNATURE, content[8:12], head, struct.pack(">I", zlib.crc32(head))]
    position = 33
    while position + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, position)
        end = position + 12 + length
        if content[position + 4 : position + 8] in (b"IDAT", b"IEND"):
            parts.append(content[position:end])
        position = end
    return b"".join(parts)


@cache
def decodes_as_pillow() -> bool:
    """Whether OpenCV's libjpeg gives Pillow's numbers, tried on a few small pictures."""
    coarse_HWC = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    picture = Image.fromarray(cv2.resize(coarse_HWC, (61, 43), interpolation=cv2.INTER_CUBIC))
    for quality, subsampling, progressive in ((60, 2, False), (90, 1, True), (95, 0, False)):
        file = io.BytesIO()
        picture.save(
            file, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive
        )
        found_HWC = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), JPEG_FLAGS)
        with Image.open(file) as expected:
            if found_HWC is None or not np.array_equal(found_HWC, np.array(expected)):
                return False
    return True
