"""Every tool's written masks, counted by the same code: of each test image right, true, predicted.

N images, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from segkit.bench.quality.preparing import IGNORED, Prepared
from segkit.bench.quality.table import SCORE
from segkit.scoring.per_image import ImageCounts, Overlap, PerImage, Scores, mean_over_classes


class WrongMasks(Exception):
    """What a tool wrote cannot be scored."""


def count(prepared: Prepared, masks: Path) -> ImageCounts:
    """The counts of all test images; raises WrongMasks where one is missing, wrong in size, or
    holds a value that is no class."""
    classes = len(prepared.classes)
    counted = PerImage(classes, IGNORED)
    for truth in sorted(prepared.truth.glob("*.png")):
        written = masks / truth.name
        if not written.is_file():
            raise WrongMasks(f"there is no mask for {truth.stem}")
        label_HW, target_HW = read_index(written), read_index(truth)
        if label_HW.shape != target_HW.shape:
            raise WrongMasks(
                f"the mask of {truth.stem} has {label_HW.shape[1]} x {label_HW.shape[0]} pixels, "
                f"its image {target_HW.shape[1]} x {target_HW.shape[0]}"
            )
        if label_HW.max() >= classes:
            raise WrongMasks(
                f"the mask of {truth.stem} holds {label_HW.max()}, and the classes end at "
                f"{classes - 1}"
            )
        label_BHW, target_BHW = (torch.from_numpy(each)[None] for each in (label_HW, target_HW))
        counted.update([truth.stem], label_BHW, target_BHW, np.array([np.nan]))
    return counted.counts()


def read_index(file: Path) -> NDArray[np.int64]:
    """The stored values of a PNG of one channel, whatever colours its palette shows them in."""
    with Image.open(file) as image:
        if image.mode not in ("L", "P", "I;16", "I"):
            raise WrongMasks(f"{file.name} has colours ({image.mode}), not one value a pixel")
        return np.asarray(image).astype(np.int64)


def overlap_of(counts_N3K: Iterable[Iterable[Iterable[int]]]) -> Overlap:
    """The counts as `Overlap`, from what a record keeps of them."""
    hit_NK, truth_NK, predicted_NK = np.moveaxis(np.array(counts_N3K, np.int64), 1, 0)
    return Overlap(hit_NK, truth_NK, predicted_NK)


def score_of(written: str) -> Callable[[Overlap], Scores]:
    """`miou`: mean over the classes in truth or prediction; `iou(2)`, `dice(2)`: of one class."""
    match = SCORE.fullmatch(written)
    if match is None:
        raise ValueError(f"{written} is no score")
    _, name, label = match.groups()
    if name is None:
        return lambda overlap: mean_over_classes(overlap.iou_XK)
    if name == "iou":
        return lambda overlap: overlap.iou_XK[..., int(label)]
    return lambda overlap: overlap.dice_XK[..., int(label)]
