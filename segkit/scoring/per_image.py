"""Every image's own count, from which its scores and those of any choice of images follow.

N images, K classes, X any leading dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Counts = NDArray[np.int64]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Overlap:
    """Pixels by class: right, in the truth, in the prediction; ignored pixels are in none.

    ignored   the class that is the ignored label, which has no score; None where there is none
    """

    hit_XK: Counts
    truth_XK: Counts
    predicted_XK: Counts
    ignored: int | None = None

    @property
    def iou_XK(self) -> Scores:
        """Intersection over union; NaN where neither truth nor prediction has the class."""
        return self._scored(self.hit_XK, self.truth_XK + self.predicted_XK - self.hit_XK)

    @property
    def dice_XK(self) -> Scores:
        """2 hits over truth and prediction (F1); NaN as `iou_XK`."""
        return self._scored(2 * self.hit_XK, self.truth_XK + self.predicted_XK)

    @property
    def precision_XK(self) -> Scores:
        """The right share of what was predicted; NaN where nothing was."""
        return self._scored(self.hit_XK, self.predicted_XK)

    @property
    def recall_XK(self) -> Scores:
        """The share of the truth that was found; NaN where there is none."""
        return self._scored(self.hit_XK, self.truth_XK)

    @property
    def accuracy_X(self) -> Scores:
        """The right share of all pixels; NaN where all are ignored."""
        return divided(self.hit_XK.sum(-1), self.truth_XK.sum(-1))

    @property
    def pixels_X(self) -> Counts:
        """Pixels that count."""
        return self.truth_XK.sum(-1)

    def summed(self, weight_XN: NDArray[np.integer] | None = None) -> Overlap:
        """All images together, each as often as its weight says: once where none is given."""
        if weight_XN is None:
            weight_XN = np.ones(len(self.hit_XK), np.int64)
        # Floating point multiplies matrices by BLAS; counts stay exact up to 2^53 pixels.
        parts = (self.hit_XK, self.truth_XK, self.predicted_XK)
        weight = weight_XN.astype(np.float64)
        hit, truth, predicted = ((weight @ part).astype(np.int64) for part in parts)
        return Overlap(hit, truth, predicted, self.ignored)

    def _scored(self, above: Counts, below: Counts) -> Scores:
        score_XK = divided(above, below)
        if self.ignored is not None and 0 <= self.ignored < score_XK.shape[-1]:
            score_XK[..., self.ignored] = np.nan
        return score_XK


@dataclass(frozen=True)
class ImageCounts:
    """What was counted of every image, sorted by name.

    names          of the images, as the data set gives them
    places         which image of the evaluation each was, from 0
    overlap        with (N, K) counts
    confidence_N   mean over an image's pixels of the highest class probability; NaN where unknown
    """

    names: tuple[str, ...]
    places: tuple[int, ...]
    overlap: Overlap
    confidence_N: Scores

    @property
    def miou_N(self) -> Scores:
        """Of each image the mean IoU over the classes in its truth or prediction."""
        return mean_over_classes(self.overlap.iou_XK)


class PerImage:
    """Gathers the counts image by image."""

    def __init__(self, num_classes: int, ignore_index: int | None) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self._rows: dict[str, tuple[int, Counts, float]] = {}

    def update(
        self, names: Sequence[str], label_BHW: Tensor, target_BHW: Tensor, confidence_B: Scores
    ) -> None:
        """Adds a batch; labels are in range, as `refuse_labels_out_of_range` sees to."""
        classes = self.num_classes
        for name, label_HW, target_HW, confidence in zip(
            names, label_BHW, target_BHW, confidence_B, strict=True
        ):
            label_N, target_N = label_HW.flatten().long(), target_HW.flatten().long()
            if self.ignore_index is not None:
                valid_N = target_N != self.ignore_index
                label_N, target_N = label_N[valid_N], target_N[valid_N]
            sets = (label_N[label_N == target_N], target_N, label_N)
            counted = torch.stack([torch.bincount(each, minlength=classes) for each in sets])
            # Two images of one name, which some data sets have, are both kept.
            key = name if name not in self._rows else f"{name} ({len(self._rows) + 1})"
            self._rows[key] = (len(self._rows), counted.cpu().numpy(), float(confidence))

    def counts(self) -> ImageCounts:
        names = tuple(sorted(self._rows))
        places, counts, confidences = zip(*(self._rows[name] for name in names), strict=True)
        counts_N3K = np.stack(counts)
        hit_NK, truth_NK, predicted_NK = np.moveaxis(counts_N3K, 1, 0)
        overlap = Overlap(hit_NK, truth_NK, predicted_NK, self.ignore_index)
        return ImageCounts(names, places, overlap, np.array(confidences))


def mean_over_classes(score_XK: Scores) -> Scores:
    """The mean of the scores that are defined; NaN where none is."""
    defined_XK = ~np.isnan(score_XK)
    return divided(np.where(defined_XK, score_XK, 0).sum(-1), defined_XK.sum(-1))


def divided(above: NDArray[np.number], below: NDArray[np.number]) -> Scores:
    """The quotients; NaN where nothing is divided by."""
    quotient = np.full(np.shape(below), np.nan)
    return np.divide(above, below, out=quotient, where=np.asarray(below) > 0)
