"""An opened data set, as training, evaluation and pictures take it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from segkit.data.files.masks import RGB
from segkit.data.files.reading import PLAIN, Reading
from segkit.data.findings import Finding, by_code
from segkit.data.intensity import Intensity
from segkit.data.opening.skipping import Skipped
from segkit.errors import UsageError, did_you_mean
from segkit.interfaces import Dataset

ALL = "all"


@dataclass(frozen=True)
class Data:
    """An opened data set; nothing below its folder is ever written.

    classes       the classes' names, in label order
    palette       an RGB colour per class
    ignore_index  the label of pixels that count for nothing, or None where there is none
    in_channels   channels of every image that `split` gives
    intensity     what is black and white in the stored images; `split` gives them so already
    splits        names that `split` takes; "all" is always taken too
    notes         what was found and decided, a sentence each
    default_size  side of the training crop that fits the images, pixels
    reading       how the images' files are read where they leave a choice
    skipped       bad samples that were left out, where that was asked for
    contents      by split, each sample's id and a digest of its pixels and its mask's values, in
                  order; empty where the pixels are drawn from a seed
    rule          how stored values become labels, as a digest
    background    the label of what is no object
    counts        by split, pixels of each label in each sample; empty where nothing counted them
    groups        by split, the recording or patient of each sample, "" where it is not known;
                  empty where it is of none
    declared_groups  whether the user says which they are
    """

    classes: tuple[str, ...]
    palette: tuple[RGB, ...]
    ignore_index: int | None
    in_channels: int
    intensity: Intensity
    splits: tuple[str, ...]
    notes: tuple[str, ...]
    default_size: int
    datasets: Mapping[str, Dataset]
    reading: Reading = PLAIN
    skipped: tuple[Skipped, ...] = ()
    contents: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    rule: str = ""
    background: int = 0
    counts: Mapping[str, tuple[Mapping[int, int], ...]] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    declared_groups: bool = False

    @property
    def full_scale(self) -> float:
        """The pixel value that is 1 in the images that `split` gives."""
        return self.intensity.full_scale(self.intensity.dtype or "uint8")

    def split(self, name: str) -> Dataset:
        """The samples of one split; raises UsageError SK-D010 where there is none of that name."""
        if name in self.datasets:
            return self.datasets[name]
        raise UsageError(
            "SK-D010",
            f"the data set has no split '{name}'.",
            f"{did_you_mean(name, self.datasets)}It has {', '.join(self.datasets)}.",
        )


def crop_size_for(sizes: Iterable[tuple[int, int]]) -> int:
    """The training crop for images of these (height, width), pixels.

    The median of their shorter sides, rounded down to a multiple of 32, from 32 to 512.
    """
    side = int(np.median([min(size) for size in sizes]))
    return min(512, max(32, side // 32 * 32))


def untrainable(counts: Mapping[str, int]) -> Finding | None:
    """Why a set of so many samples by split cannot be trained on, however sound; None where it can.

    It may be scored. `segkit data check` tells it, and a training refuses it.
    """
    if counts.get("train"):
        return None
    if set(counts) == {ALL}:
        have = "is 1 image with its mask" if counts[ALL] else "are no images with masks"
        what = f"there {have}: too few to train and to validate."
        return Finding("SK-T004", what, "Add images: two at least.")
    have = ", ".join(f"{count} {split}" for split, count in counts.items())
    first = next((split for split, count in counts.items() if count), "test")
    return Finding(
        "SK-T004",
        f"there are no training images: the splits are {have}.",
        "To train on them, call a split train. To score a model on them: "
        f"segkit evaluate RUN --data FOLDER --split {first}",
    )


def warned(warnings: Sequence[Finding]) -> list[str]:
    """A sentence per kind of warning: the first in full, the others counted."""
    notes = []
    for alike in by_code(warnings).values():
        more = f" ({len(alike)} such; `segkit data check` shows all.)" if len(alike) > 1 else ""
        notes.append(f"{alike[0].what}{more}")
    return notes
