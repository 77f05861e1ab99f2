"""Images as a network is given them: its channels, its black and white."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.data.files.images import fit_channels
from segkit.data.intensity import Intensity, read_intensity, recorded
from segkit.errors import UsageError
from segkit.model.network import ModelRecord

Pixels = NDArray[np.generic]


@dataclass(frozen=True)
class Given:
    """An image as a network is given it, but for its own normalisation.

    pixels       (H, W, C), at the stored depth where black is 0
    full_scale   the value that counts as 1
    name         of its file, for messages
    """

    pixels: Pixels
    full_scale: float
    name: str

    def is_alike(self, other: Given) -> bool:
        """Whether both can be computed together."""
        one, two = ((i.pixels.shape, i.pixels.dtype, i.full_scale) for i in (self, other))
        return one == two


def as_trained(record: ModelRecord, intensity: Intensity | None = None) -> Callable[..., Given]:
    """A function (pixels_HWC, name) -> Given that treats images as the model's training did.

    intensity   black and white; None: those recorded with the model
    The function raises DataError SK-D011 where channels do not fit, SK-D034 where values do not.
    """
    scaling = intensity or recorded(record.training)

    def given(pixels_HWC: Pixels, name: str) -> Given:
        fitted_HWC = fit_channels(pixels_HWC, record.in_channels, name)
        scaling.refuse_misfit(name, fitted_HWC)
        scale = scaling.full_scale(fitted_HWC.dtype)
        return Given(scaling.applied(fitted_HWC), scale, name)

    return given


def asked_intensity(text: str | None) -> Intensity | None:
    """What a user writes for images that are predicted one by one; raises UsageError SK-C009.

    A range or percentiles are measured over a whole data set, which is not there.
    """
    if text is None:
        return None
    asked = read_intensity(text)
    if asked.scaling != "per-image" and asked.white is None:
        raise UsageError(
            "SK-C009",
            f"--intensity {text} is measured over the training data, and not while predicting.",
            "Leave it out for the model's own, or give --intensity per-image, or what the values "
            'mean, such as --intensity "fixed(0, 65535)".',
        )
    return asked
