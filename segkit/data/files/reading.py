"""How files are read where they leave a choice, as data.yaml or the command line make it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_PIXELS = 178_956_970
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
    """

    max_pixels: int = MAX_PIXELS
    page: int | None = None
    nan_fill: float | None = None
    alpha: str = "drop"
    soft: bool = False

    def record(self) -> dict[str, Any]:
        """What decides an image's pixels, for a model's record; `recorded_reading` reads it."""
        return {name: getattr(self, name) for name in RECORDED}


PLAIN = Reading()


def recorded_reading(training: Mapping[str, Any], max_pixels: int = MAX_PIXELS) -> Reading:
    """How a model's own images were read, by its record (`ModelRecord.training`)."""
    found = training.get("reading") or {}
    return Reading(max_pixels, **{name: found[name] for name in RECORDED if name in found})
