"""How files are read where they leave a choice, as data.yaml or the command line make it."""

from __future__ import annotations

from dataclasses import dataclass

MAX_PIXELS = 178_956_970
ALPHA = ("drop", "white", "channel")


@dataclass(frozen=True)
class Reading:
    """Choices in reading images and masks.

    max_pixels  the largest image allowed, pixels
    page        which page of a file that holds several, from 1; None refuses such files
    nan_fill    the value that replaces NaN and infinities of images; None refuses them
    alpha       of images: "drop" it, lay the picture on "white", or keep it as a "channel"
    soft        masks may hold fractions from 0 to 1, which become 0 or 1 (from 0.5 on)
    """

    max_pixels: int = MAX_PIXELS
    page: int | None = None
    nan_fill: float | None = None
    alpha: str = "drop"
    soft: bool = False


PLAIN = Reading()
