"""Numbers of a data set: brightness per channel, and how frequent each class is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segkit.data.opening.opened import Data


@dataclass(frozen=True)
class Statistics:
    """Of one split, over all its pixels.

    mean, std      per channel, as shares of white (what a model's normalization is written in)
    pixels         of each class
    images         images in which each class occurs
    ignored        ignored pixels
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    pixels: tuple[int, ...]
    images: tuple[int, ...]
    ignored: int

    @property
    def frequencies(self) -> tuple[float, ...]:
        """Each class's share of the pixels that count; NaN where none do."""
        counted = sum(self.pixels)
        return tuple(n / counted if counted else float("nan") for n in self.pixels)


def measure(data: Data, split: str) -> Statistics:
    """Reads every sample of a split once; sums in float64."""
    dataset = data.split(split)
    count = len(data.classes)
    total = np.zeros(data.in_channels)
    squares = np.zeros(data.in_channels)
    seen = ignored = 0
    pixels, images = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for index in range(len(dataset)):
        sample = dataset[index]
        value_NC = sample.image.reshape(-1, data.in_channels).astype(np.float64) / data.full_scale
        total += value_NC.sum(axis=0)
        squares += (value_NC**2).sum(axis=0)
        seen += len(value_NC)
        if sample.mask is None:
            continue
        counted = sample.mask
        if data.ignore_index is not None:
            counted = counted[counted != data.ignore_index]
            ignored += sample.mask.size - counted.size
        found = np.bincount(counted.ravel(), minlength=count)
        pixels += found
        images += found > 0
    mean = total / max(seen, 1)
    std = np.sqrt(np.maximum(squares / max(seen, 1) - mean**2, 0))
    return Statistics(
        tuple(mean.tolist()),
        tuple(std.tolist()),
        tuple(pixels.tolist()),
        tuple(images.tolist()),
        ignored,
    )


def balanced_weights(statistics: Statistics) -> tuple[float, ...]:
    """Median frequency balancing (Eigen and Fergus 2015): the median share / the class's own.

    Their frequency is over the images that show the class; here it is over all, so that one rare
    class in a single image weighs as much as it is rare. A class that never occurs weighs 0.
    """
    present = [share for share in statistics.frequencies if share > 0]
    middle = float(np.median(present)) if present else 0.0
    return tuple(middle / share if share > 0 else 0.0 for share in statistics.frequencies)
