"""Masks as files hold them: one whole number a pixel, before any meaning is given to it.

An index mask holds labels, object numbers or 0 and 255; a colour mask holds colours, packed as
red * 65536 + green * 256 + blue. What the numbers mean is decided over all masks, in `labels`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segkit.data.files.decoding import MASK_FORMATS, Decoded, decode
from segkit.data.files.images import turned
from segkit.data.files.reading import PLAIN, Reading
from segkit.data.files.transitions import Transitions, renamed, transitions
from segkit.errors import DataError

RGB = tuple[int, int, int]
NO_COLOUR = 1 << 24


@dataclass(frozen=True)
class MaskFacts:
    """What one mask file holds.

    height, width  as stored
    counts         pixels of each value: an index, or a packed colour where `colour` is true
    colour         its values are colours
    palette        of an index PNG: the colour of each index it uses, else empty
    orientation    its own EXIF orientation, 1 where there is none
    digest         of the values and the palette: equal masks have equal ones
    transitions    how its regions meet
    """

    path: Path
    height: int
    width: int
    format: str
    counts: dict[int, int]
    colour: bool = False
    palette: dict[int, RGB] = field(default_factory=dict)
    orientation: int = 1
    digest: str = ""
    transitions: Transitions = field(default_factory=Transitions)


def pack(colour: Sequence[int]) -> int:
    """An RGB colour as one number."""
    red, green, blue = (int(part) for part in colour)
    return red << 16 | green << 8 | blue


def unpack(packed: int) -> RGB:
    return packed >> 16, packed >> 8 & 255, packed & 255


def read_values(
    path: Path, *, as_colour: bool = False, upright: bool = False, reading: Reading = PLAIN
) -> np.ndarray:
    """The mask's numbers, (H, W) of any integer type; raises DataError SK-D005, D006 or D015.

    as_colour  packed colours, also for index PNGs and grey files
    upright    turn as the mask's own EXIF orientation says
    reading    pages, and whether fractions are labels to be rounded
    """
    decoded = decode(path, formats=MASK_FORMATS, code="SK-D005", reading=reading)
    values_HW, colour = _values(path, decoded, reading)
    if as_colour and not colour:
        values_HW = _coloured(decoded, values_HW)
    return turned(values_HW[:, :, None], decoded.orientation)[:, :, 0] if upright else values_HW


def first_pixel(facts: MaskFacts, values: Sequence[int], reading: Reading) -> tuple[int, ...]:
    """(row, column) of the first pixel of a mask with one of the values; () where none is found."""
    held_HW = np.isin(read_values(facts.path, reading=reading), values)
    # Values that a palette stands for are not those of the file.
    if held_HW.sum() != sum(facts.counts.get(value, 0) for value in values):
        return ()
    row, column = np.argwhere(held_HW)[0].tolist()
    return row, column


def nearest(values_HW: np.ndarray, height: int, width: int) -> np.ndarray:
    """The values at another size: each pixel takes the value that lies under its centre."""
    rows = (2 * np.arange(height) + 1) * values_HW.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * values_HW.shape[1] // (2 * width)
    return values_HW[rows[:, None], columns]


def scan_mask(path: Path, reading: Reading = PLAIN) -> MaskFacts:
    """Decodes one mask and counts its values."""
    decoded = decode(path, formats=MASK_FORMATS, code="SK-D005", reading=reading)
    values_HW, colour = _values(path, decoded, reading)
    counts = count_values(values_HW)
    palette: dict[int, RGB] = {}
    if decoded.palette is not None:
        colours = decoded.palette
        palette = {v: _rgb(colours[v]) for v in counts if v < len(colours)}
    height, width = values_HW.shape
    return MaskFacts(
        path,
        height,
        width,
        decoded.format,
        counts,
        colour,
        palette,
        decoded.orientation,
        _digest(values_HW, decoded.palette),
        _transitions(values_HW, colour, palette),
    )


def _transitions(values_HW: np.ndarray, colour: bool, palette: Mapping[int, RGB]) -> Transitions:
    """How the regions meet, by the values; but by what they look like where there is a palette.

    What smears a picture works on its colours, and an index says nothing of them.
    """
    if not palette:
        return transitions(values_HW, colour=colour)
    grey = all(len(set(rgb)) == 1 for rgb in palette.values())
    looks: dict[int, int] = {}
    for value in range(256):
        look = (
            palette[value][0] if grey and value in palette else pack(palette.get(value, (0, 0, 0)))
        )
        # Indices of one colour stay apart, by a number above all colours.
        looks[value] = (
            look if value in palette and look not in looks.values() else NO_COLOUR + value
        )
    found = transitions(np.array(list(looks.values()))[values_HW], colour=not grey)
    return renamed(found, {look: value for value, look in looks.items()})


def _digest(values_HW: np.ndarray, palette: np.ndarray | None) -> str:
    digest = hashlib.blake2b(f"{values_HW.shape} {values_HW.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(values_HW).data)
    if palette is not None:
        digest.update(palette.tobytes())
    return digest.hexdigest()


def count_values(values_HW: np.ndarray) -> dict[int, int]:
    """Pixels of each value."""
    if values_HW.dtype in (np.uint8, np.uint16):
        counts = np.bincount(values_HW.ravel())
        return {int(v): int(counts[v]) for v in np.flatnonzero(counts)}
    values, counts = np.unique(values_HW, return_counts=True)
    return {int(v): int(n) for v, n in zip(values, counts, strict=True)}


def _values(path: Path, decoded: Decoded, reading: Reading) -> tuple[np.ndarray, bool]:
    pixels = decoded.pixels
    if pixels.dtype == bool:
        # A 1-bit mask says black and white: the same two values an 8-bit one would hold.
        return pixels.astype(np.uint8) * 255, False
    if pixels.dtype.kind == "f":
        pixels = _rounded(path, pixels, reading) if reading.soft else _whole(path, pixels, reading)
    if pixels.ndim == 2:
        return pixels, False
    if pixels.shape[2] in (2, 4):
        pixels = _without_alpha(path, pixels)
    if pixels.shape[2] == 1:
        return pixels[:, :, 0], False
    if pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise DataError(
            "SK-D005",
            f"{path} has {pixels.shape[2]} channels of {pixels.dtype}: no mask segkit knows.",
            "Save masks with one channel that holds the label, or as 8-bit RGB colours.",
        )
    first = pixels[:, :, :1]
    if (pixels == first).all():
        return first[:, :, 0], False
    return _packed(pixels), True


def _rounded(path: Path, pixels: np.ndarray, reading: Reading) -> np.ndarray:
    # Written so that NaN counts as out of range.
    inside = (pixels >= 0) & (pixels <= 1)
    if not inside.all():
        raise DataError(
            "SK-D008",
            f"{path} holds {float(pixels[~inside][0]):.4g}, and soft masks go from 0 to 1.",
            f"Divide by the highest value, or take `soft: true` out of {reading.file}.",
        )
    return (pixels >= 0.5).astype(np.uint8)


def _whole(path: Path, pixels: np.ndarray, reading: Reading) -> np.ndarray:
    # NaN has no whole number, and so is told as a fraction.
    with np.errstate(invalid="ignore"):
        whole = pixels.astype(np.int64)
    if not (whole == pixels).all():
        way = reading.otherwise("soft: true")
        raise DataError(
            "SK-D008",
            f"{path} holds fractions such as {float(pixels[whole != pixels][0]):.4g}: "
            "probabilities, not labels.",
            "Save labels as whole numbers, such as the class of highest probability."
            + (f"\nOr, with two classes, foreground is what is 0.5 or more: {way}." if way else ""),
        )
    return whole


def _without_alpha(path: Path, pixels: np.ndarray) -> np.ndarray:
    alpha = pixels[:, :, -1]
    if alpha.min() != alpha.max():
        raise DataError(
            "SK-D005",
            f"{path} has an alpha channel that varies ({alpha.min()} to {alpha.max()}): its labels "
            "might be in the colours or in the alpha.",
            "Save the mask without alpha.",
        )
    return pixels[:, :, :-1]


def _packed(pixels_HW3: np.ndarray) -> np.ndarray:
    wide = pixels_HW3.astype(np.int32)
    return wide[:, :, 0] << 16 | wide[:, :, 1] << 8 | wide[:, :, 2]


def _coloured(decoded: Decoded, values_HW: np.ndarray) -> np.ndarray:
    if decoded.palette is not None:
        return _packed(decoded.palette[np.minimum(values_HW, len(decoded.palette) - 1)])
    return values_HW.astype(np.int32) * pack((1, 1, 1))


def _rgb(colour: np.ndarray) -> RGB:
    return int(colour[0]), int(colour[1]), int(colour[2])
