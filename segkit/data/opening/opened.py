"""An opened data set, as training, evaluation and pictures take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from segkit.data.files.masks import RGB
from segkit.data.opening.skipping import Skipped
from segkit.errors import UsageError, did_you_mean
from segkit.interfaces import Dataset


@dataclass(frozen=True)
class Data:
    """An opened data set; nothing below its folder is ever written.

    classes       the classes' names, in label order
    palette       an RGB colour per class
    ignore_index  the label of pixels that count for nothing, or None where there is none
    in_channels   channels of every image that `split` gives
    full_scale    the value of white: 255 for 8 bits, else from the highest value measured
    splits        names that `split` takes; "all" is always taken too
    notes         what was found and decided, a sentence each
    default_size  side of the training crop that fits the images, pixels
    skipped       bad samples that were left out, where that was asked for
    """

    classes: tuple[str, ...]
    palette: tuple[RGB, ...]
    ignore_index: int | None
    in_channels: int
    full_scale: float
    splits: tuple[str, ...]
    notes: tuple[str, ...]
    default_size: int
    datasets: Mapping[str, Dataset]
    skipped: tuple[Skipped, ...] = ()

    def split(self, name: str) -> Dataset:
        """The samples of one split; raises UsageError SK-D010 where there is none of that name."""
        if name in self.datasets:
            return self.datasets[name]
        raise UsageError(
            "SK-D010",
            f"the data set has no split '{name}'.",
            f"{did_you_mean(name, self.datasets)}It has {', '.join(self.datasets)}.",
        )
