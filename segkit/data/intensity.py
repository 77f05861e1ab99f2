"""What is black and what is white: the one rule from stored pixel values to 0 and 1.

Training finds it on its data and records it with the model; prediction and evaluation use the
record, whatever the images they are given look like, and refuse images that cannot be meant by it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from segkit.errors import DataError, UsageError

Scaling = Literal["range", "percentile", "per-image", "fixed", "type"]
SCALINGS = ("range", "percentile", "per-image", "fixed")
WRITTEN = "range, percentile, per-image or fixed(BLACK, WHITE)"

# Percent of the pixels that count as black, and from where on they count as white.
LOW, HIGH = 0.5, 99.5
# What a type holds at most; floating point is 0 to 1 by custom.
WHITE_OF_TYPE = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
# Cameras give 10, 12, 14 or 16 bits in a file of 16; 8 bits are often stored so too.
DEPTHS = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
# Overshoot of a resampling or a calibration does not make another scale of 0 to 1.
OVERSHOOT = 2.0
# Values that every image is asked for at most, where values are counted.
COUNTED = 2**18

_FIXED = re.compile(r"fixed\(\s*([^\s,()]+)\s*,\s*([^\s,()]+)\s*\)")


class ValueRange(Protocol):
    """What is known of an image's values: their type, and the lowest and highest."""

    @property
    def dtype(self) -> str: ...

    @property
    def lowest(self) -> float: ...

    @property
    def highest(self) -> float: ...


@dataclass(frozen=True)
class Intensity:
    """How stored pixel values become 0 (black) to 1 (white), in stored units.

    scaling  range: from 0 (or the lowest value below it) to the least depth of a camera that holds
             all values of the training data; percentile: from the 0.5th to the 99.5th percentile of
             the training data; per-image: from the 0.5th to the 99.5th percentile of each image;
             fixed: as the user says; type: nothing is recorded, and the type decides (255, 65535,
             1.0)
    black    the stored value that becomes 0
    white    the stored value that becomes 1; None: not measured yet, or each image's own
    dtype    of the images that it was found on: uint8, uint16 or float32; None where unknown
    """

    scaling: Scaling = "range"
    black: float = 0.0
    white: float | None = None
    dtype: str | None = None

    @property
    def changes_pixels(self) -> bool:
        """Whether `applied` gives other values than are stored."""
        return self.scaling in ("percentile", "per-image") or self.black != 0

    def applied(self, image_HWC: np.ndarray) -> np.ndarray:
        """The image as networks are given it, to be divided by `full_scale` and nothing else.

        The image itself where black is 0, at its own depth. Else float32, black 0 and white 1; cut
        off there where the scaling goes by percentiles. For a whole image, never for a part of one:
        `per-image` is of all its pixels.
        """
        if not self.changes_pixels:
            return image_HWC
        black, white = self.black, self.white
        if self.scaling == "per-image":
            black, white = percentiles([image_HWC])
        if white is None:
            raise ValueError(f"the {self.scaling} of the images has not been measured")
        span = np.float32(white - black) or np.float32(1)
        scaled_HWC = (image_HWC.astype(np.float32) - np.float32(black)) / span
        return scaled_HWC.clip(0, 1) if self.white is None or self._by_percentiles else scaled_HWC

    def full_scale(self, dtype: object) -> float:
        """The value that is 1 in what `applied` gives for an image of this type."""
        if self.changes_pixels:
            return 1.0
        if self.scaling == "type":
            return WHITE_OF_TYPE[str(np.dtype(str(dtype)))]
        if self.white is None:
            raise ValueError(f"the {self.scaling} of the images has not been measured")
        return self.white

    def misfit(self, dtype: object, lowest: float, highest: float) -> str:
        """Why images of this type that reach these values cannot be meant; "" where they can."""
        if self.scaling == "per-image":
            return ""
        kind, white = str(np.dtype(str(dtype))), self.white
        if white is None:
            white = WHITE_OF_TYPE[kind]
        reach = f"{_told(kind)} reach {highest:,g}, and {white:,g} counts as white"
        if highest - self.black > OVERSHOOT * (white - self.black):
            return f"{reach}: most of it would be far beyond white."
        if kind == "uint8" and white > 255 and self.dtype != "uint8":
            return f"{_told(kind)} cannot reach white, which is {white:,g}: all would be dark."
        if kind == "float32" and 0 < highest <= 1 and white > OVERSHOOT and lowest >= 0:
            return f"{reach}: all would be black."
        return ""

    def remark(self, highest: float) -> str:
        """A sentence where a set's images stay far below white; "" where they do not."""
        if self.white is None or self.scaling in ("per-image", "type"):
            return ""
        share = (highest - self.black) / (self.white - self.black)
        if share >= 0.5:
            return ""
        return (
            f"The highest value of these images is {highest:,g}, and {self.white:,g} counts as "
            f"white: they are seen at {max(share, 0):.0%} of it. Where they are not meant so dark, "
            f'say what is white: --intensity "fixed({self.black:g}, {highest:g})".'
        )

    def refuse_misfit(self, name: str, image: np.ndarray) -> None:
        """Raises DataError SK-D034 where an image, whole or a part, cannot be meant."""
        lowest, highest = float(image.min(initial=0)), float(image.max(initial=0))
        if image.dtype.kind == "f" and highest == 1 and not (image % 1).any():
            return  # 0 and 1 alone: nearly black in any scale
        wrong = self.misfit(image.dtype, lowest, highest)
        if wrong:
            raise misfit_error(f"{name}: {wrong}", white_of(highest, str(image.dtype)))

    def sentence(self) -> str:
        """What becomes of the values, in words."""
        if self.scaling == "per-image":
            return (
                f"Intensity: each image from its own {LOW:g} % percentile (black) to its own "
                f"{HIGH:g} % (white)."
            )
        if self.white is None:
            return "Intensity: by the images' type."
        how = {"percentile": f", the {LOW:g} % and {HIGH:g} % percentiles of the data"}
        told = f"{self.black:,g} is black, {self.white:,g} is white{how.get(self.scaling, '')}."
        return f"Intensity: {told}"

    def record(self) -> dict[str, Any]:
        """For a model's record; `recorded` reads it."""
        return {
            "scaling": self.scaling,
            "black": self.black,
            "white": self.white,
            "dtype": self.dtype,
        }

    @property
    def _by_percentiles(self) -> bool:
        return self.scaling in ("percentile", "per-image")


RANGE = Intensity()


def recorded(training: Mapping[str, Any]) -> Intensity:
    """What a model's record says of the values it was trained on (`ModelRecord.training`).

    By the images' type where it says nothing, as of networks that other libraries trained.
    """
    found = training.get("intensity")
    if isinstance(found, Mapping):
        return Intensity(
            found.get("scaling", "range"),
            float(found.get("black") or 0),
            None if found.get("white") is None else float(found["white"]),
            found.get("dtype"),
        )
    if training.get("full_scale"):
        return Intensity("range", 0.0, float(training["full_scale"]))
    return Intensity("type")


def read_intensity(text: str) -> Intensity:
    """What a user writes: range, percentile, per-image or fixed(BLACK, WHITE).

    Not yet measured where it goes by the data. Raises UsageError SK-C009.
    """
    found = _FIXED.fullmatch(text.strip())
    if found:
        try:
            black, white = (float(number) for number in found.groups())
        except ValueError:
            black = white = math.nan
        if math.isfinite(black) and math.isfinite(white) and black < white:
            return Intensity("fixed", black, white)
    for scaling in ("range", "percentile", "per-image"):
        if text.strip() == scaling:
            return Intensity(scaling)
    raise UsageError(
        "SK-C009",
        f"intensity is {text!r}, which is none of {WRITTEN}.",
        "For images of 12 bits, for example: fixed(0, 4095).",
    )


def find_intensity(
    wanted: Intensity | None, images: Sequence[ValueRange]
) -> tuple[Intensity, list[str]]:
    """Black and white of a set of images, and sentences on it.

    wanted   None: the range of the images. A scaling that is not measured yet: range is measured
             here, percentiles are left to one who reads the pixels. A model's own: it is kept, and
             the images have to fit it
    Raises DataError SK-D011 where depths differ, and SK-D034 where the images do not fit.
    """
    wanted = wanted or RANGE
    depths = Counter(facts.dtype for facts in images)
    if len(depths) > 1 and wanted.scaling != "per-image":
        have = ", ".join(f"{count} of {dtype}" for dtype, count in sorted(depths.items()))
        raise DataError(
            "SK-D011",
            f"the images differ in depth: {have}.",
            "Convert them to one (a grey of 8 bits and one of 16 are not comparable), or scale "
            "each by itself: --intensity per-image, or `intensity: per-image` in data.yaml.",
        )
    dtype = min(depths)
    lowest = min(facts.lowest for facts in images)
    highest = max(facts.highest for facts in images)
    if wanted.scaling == "range" and wanted.white is None:
        found = Intensity("range", min(0.0, lowest), white_of(highest, dtype), dtype)
        return found, [] if dtype == "uint8" else [_depth_note(found, highest)]
    wrong = wanted.misfit(dtype, lowest, highest)
    if wrong:
        raise misfit_error(f"{wrong[0].upper()}{wrong[1:]}", white_of(highest, dtype))
    if wanted.scaling == "type":
        return replace(wanted, white=WHITE_OF_TYPE[dtype], dtype=dtype), []
    remark = wanted.remark(highest)
    return replace(wanted, dtype=wanted.dtype or dtype), [remark] if remark else []


def _depth_note(found: Intensity, highest: float) -> str:
    below = f" and {found.black:,g} as black" if found.black else ""
    told = f"highest value {highest:,g}; {found.white:,g} counts as white{below}."
    return f"Depth: {found.dtype}, {told}"


def white_of(highest: float, dtype: str) -> float:
    """White, for a camera or a program that gave this value at most.

    uint8: 255. uint16: the least of 8, 10, 12, 14 and 16 bits that holds it. Floating point: 1 up
    to an overshoot of 2, 255 for what looks like 8 bits, else the value itself.
    """
    if dtype == "uint8":
        return 255.0
    if dtype == "uint16":
        return next(depth for depth in DEPTHS if highest <= depth)
    if highest <= OVERSHOOT:
        return 1.0
    return 255.0 if 127 < highest <= 255 else highest


def percentiles(images: Iterable[np.ndarray]) -> tuple[float, float]:
    """Black and white by percentiles, of at most 2**18 values of each image, evenly spread."""
    parts = []
    for image in images:
        values = image.reshape(-1)
        parts.append(values[:: max(1, values.size // COUNTED)])
    pooled = np.concatenate(parts)
    black, white = np.percentile(pooled, (LOW, HIGH)).tolist()
    # Nearly one value everywhere: the whole range, if there is one.
    return (black, white) if white > black else (float(pooled.min()), float(pooled.max()))


def misfit_error(what: str, white: float) -> DataError:
    """SK-D034, for one who knows which image or set it is, and what white may be in it."""
    return DataError(
        "SK-D034",
        what,
        "Give images with values as in the training, or say what is black and white in these: "
        f'--intensity "fixed(0, {white:g})"',
    )


def _told(dtype: str) -> str:
    return {
        "uint8": "these 8-bit images",
        "uint16": "these 16-bit images",
        "float32": "these floating-point images",
    }[dtype]
