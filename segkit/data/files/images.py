"""Images as arrays (H, W, C) at their own depth: what each mode becomes, how channels fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segkit.data.files.decoding import Decoded, decode
from segkit.data.files.reading import PLAIN, Reading
from segkit.errors import DataError

# Rec. 601 luma, the weights Pillow uses for RGB to L.
LUMA = np.array([0.299, 0.587, 0.114])

# np.rot90 turns and a mirror that undo each EXIF orientation: (quarter turns, mirrored first).
ORIENTATIONS: dict[int, tuple[int, bool]] = {
    1: (0, False),
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (1, True),
    6: (3, False),
    7: (3, True),
    8: (1, False),
}


def read_image(
    path: Path, channels: int | None = None, *, upright: bool = True, reading: Reading = PLAIN
) -> np.ndarray:
    """One image, (H, W, C): uint8, uint16 or float32, never clipped.

    channels  how many to return: grey is copied, colour averaged (Rec. 601) to 1, alpha dropped
              where 3 are asked for; None leaves them as stored
    upright   turn as the EXIF orientation says
    reading   pages, alpha, NaN and the largest size allowed

    Raises DataError SK-D004, D006, D011, D014, D015 or D016, naming the file.
    """
    decoded = decode(path, reading=reading)
    image_HWC = as_image(path, decoded, reading)
    if upright:
        image_HWC = turned(image_HWC, decoded.orientation)
    if channels is not None:
        image_HWC = fit_channels(image_HWC, channels, str(path))
    return np.ascontiguousarray(image_HWC)


def turned(image_HWC: np.ndarray, orientation: int) -> np.ndarray:
    """The array as a viewer shows it, given the EXIF orientation of its file."""
    quarters, mirrored = ORIENTATIONS[orientation]
    if mirrored:
        image_HWC = image_HWC[:, ::-1]
    return np.rot90(image_HWC, quarters) if quarters else image_HWC


def fit_channels(image_HWC: np.ndarray, channels: int, name: str) -> np.ndarray:
    """The image with so many channels; raises DataError SK-D011 where there is no honest way."""
    have = image_HWC.shape[2]
    if have == channels:
        return image_HWC
    if have == 2 and channels in (1, 3):
        return fit_channels(image_HWC[:, :, :1], channels, name)
    if have == 4 and channels in (1, 3):
        return fit_channels(image_HWC[:, :, :3], channels, name)
    if have == 1:
        return np.repeat(image_HWC, channels, axis=2)
    if have == 3 and channels == 1:
        grey_HW = image_HWC @ LUMA
        if image_HWC.dtype.kind == "u":
            grey_HW = np.round(grey_HW)
        return grey_HW.astype(image_HWC.dtype)[:, :, None]
    if have == 3 and channels == 4 and image_HWC.dtype.kind == "u":
        opaque_HW1 = np.full((*image_HWC.shape[:2], 1), np.iinfo(image_HWC.dtype).max)
        return np.concatenate([image_HWC, opaque_HW1.astype(image_HWC.dtype)], axis=2)
    raise DataError(
        "SK-D011",
        f"{name} has {have} channels, and {channels} are wanted.",
        f"Give images of {channels} channels; to train on these, say so: --declare 'in_channels: "
        f"{have}', or `in_channels: {have}` in their data.yaml.",
    )


def as_image(path: Path, decoded: Decoded, reading: Reading = PLAIN) -> np.ndarray:
    """(H, W, C) of uint8, uint16 or float32; raises DataError SK-D016 for values not finite.

    Alpha that is dropped is still the last channel here; `fit_channels` leaves it out.
    """
    pixels = decoded.pixels
    if decoded.mode == "P" and decoded.palette is not None:
        pixels = decoded.palette[np.minimum(pixels, len(decoded.palette) - 1)]
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    image_HWC = _own_depth(path, pixels, reading)
    if reading.alpha == "white" and decoded.mode in ("LA", "RGBA"):
        return on_white(image_HWC)
    return image_HWC


def on_white(image_HWC: np.ndarray) -> np.ndarray:
    """The picture laid on white by its last channel, the alpha; whole numbers are rounded."""
    whole = image_HWC.dtype.kind == "u"
    white = float(np.iinfo(image_HWC.dtype).max) if whole else 1.0
    share_HW1 = image_HWC[:, :, -1:].astype(np.float64) / white
    laid_HWC = image_HWC[:, :, :-1] * share_HW1 + white * (1 - share_HW1)
    return (np.rint(laid_HWC) if whole else laid_HWC).astype(image_HWC.dtype)


def _own_depth(path: Path, pixels: np.ndarray, reading: Reading) -> np.ndarray:
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if pixels.dtype.kind == "i" and pixels.min() >= 0 and pixels.max() <= 65535:
        return pixels.astype(np.uint16)
    values = pixels.astype(np.float32)
    finite = np.isfinite(values)
    wrong = int(values.size - finite.sum())
    if wrong and reading.nan_fill is not None:
        return np.where(finite, values, np.float32(reading.nan_fill))
    if wrong:
        way = reading.otherwise("nan_fill: 0")
        raise DataError(
            "SK-D016",
            f"{path} holds {wrong:,} pixels that are NaN or infinite, of {values.size:,}.",
            "Repair the file: one such pixel makes every result meaningless."
            + (f"\nOr replace them, by 0 or another value: {way}." if way else ""),
        )
    return values
