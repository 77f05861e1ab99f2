"""How files are read where they leave a choice, as data.yaml or the command line make it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segkit.errors import DataError

MAX_PIXELS = 178_956_970
# Red, green, blue and alpha of a byte each.
PIXEL_BYTES = 4
ALPHA = ("drop", "white", "channel")
RECORDED = ("page", "nan_fill", "alpha")


@dataclass(frozen=True)
class Reading:
    """Choices in reading images and masks.

    max_pixels  the largest image allowed, pixels
    page        which page of a file that holds several, from 1; None refuses such files
    nan_fill    the value that replaces NaN and infinities of images; None refuses them
    alpha       of images: "drop" it, lay the picture on "white", or keep it as a "channel"
    soft        masks may hold fractions from 0 to 1, which become 0 or 1 (from 0.5 on)
    file        the data.yaml that may choose otherwise; None where none is read, as in predicting
    """

    max_pixels: int = MAX_PIXELS
    page: int | None = None
    nan_fill: float | None = None
    alpha: str = "drop"
    soft: bool = False
    file: Path | None = field(default=None, compare=False, repr=False)

    def otherwise(self, line: str) -> str:
        """How to choose otherwise by a line of data.yaml; "" where none is read."""
        return declaring(line, self.file) if self.file is not None else ""

    def check_pixels(self, path: Path, height: int, width: int, pixel_bytes: int = 1) -> None:
        """Raises DataError SK-D014 where an image of this size has more pixels than allowed.

        pixel_bytes   of all channels together: so many pixels of 4 bytes are allowed, of 8 half
        """
        if height * width > self.max_pixels:
            is_so_large = f"is {height} x {width} (height x width), {height * width:,} pixels"
            raise too_large(path, is_so_large, self, height * width)
        if height * width * pixel_bytes > self.most_bytes:
            is_so_large = (
                f"is {height} x {width} (height x width) with {pixel_bytes} bytes a pixel, as "
                f"large as {height * width * pixel_bytes // PIXEL_BYTES:,} pixels of {PIXEL_BYTES}"
            )
            wanted = -(-height * width * pixel_bytes // PIXEL_BYTES)
            raise too_large(path, is_so_large, self, wanted)

    @property
    def most_bytes(self) -> int:
        """What an image may take in memory, and its file on the disk."""
        return PIXEL_BYTES * self.max_pixels

    def record(self) -> dict[str, Any]:
        """What decides an image's pixels, for a model's record; `recorded_reading` reads it."""
        return {name: getattr(self, name) for name in RECORDED}


PLAIN = Reading()


def declaring(line: str, file: Path) -> str:
    """A line of data.yaml as the option to paste, and where else it may stand."""
    return f"--declare '{line}', or `{line}` in {file}"


def too_large(path: Path, is_so_large: str, reading: Reading, pixels: int = 0) -> DataError:
    """DataError SK-D014; `pixels` that would have to be allowed, where they are known."""
    wanted = f"{pixels}" if pixels else "N"
    also = f", or `max_pixels: {wanted}` in {reading.file}" if reading.file is not None else ""
    return DataError(
        "SK-D014",
        f"{path} {is_so_large}; {reading.max_pixels:,} are allowed.",
        f"If that is right, allow more: --max-pixels {wanted}{also}.",
    )


def recorded_reading(training: Mapping[str, Any], max_pixels: int = MAX_PIXELS) -> Reading:
    """How a model's own images were read, by its record (`ModelRecord.training`)."""
    found = training.get("reading") or {}
    return Reading(max_pixels, **{name: found[name] for name in RECORDED if name in found})
