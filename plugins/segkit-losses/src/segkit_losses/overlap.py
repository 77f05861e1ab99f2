"""Losses over the overlap of prediction and truth: Dice, Jaccard, Tversky, focal Tversky.

All sums run over every valid pixel of the batch, one per class. A class that the batch's truth does not hold
is left out of the mean. Where a pixel has one class, a false positive for it still costs: it is a false
negative of another class. Where that is not so (multilabel, or only some `classes` count), the mean
probability of the absent classes is added.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from segkit_losses.inputs import (
    InputReader,
    counted_classes,
    in_range,
    mean_over_present,
    probabilities,
)

PIXEL_DIMENSIONS = (0, 2, 3)


class OverlapSums(NamedTuple):
    """Sums over the valid pixels of a batch, per class, p probability and t truth.

    overlap_K    p * t
    predicted_K  p
    truth_K      t
    valid_K      pixels
    """

    overlap_K: Tensor
    predicted_K: Tensor
    truth_K: Tensor
    valid_K: Tensor


class _Overlap(nn.Module):
    counted_K: Tensor

    def __init__(
        self,
        name: str,
        num_classes: int,
        ignore_index: int | None,
        *,
        smooth: float,
        classes: tuple[int, ...] | None,
        multilabel: bool,
    ) -> None:
        super().__init__()
        self.read = InputReader(name, num_classes, ignore_index, multilabel)
        self.smooth = in_range(name, "smooth", smooth, 0)
        self.exhaustive = not multilabel and classes is None
        counted_K = counted_classes(name, classes, num_classes)
        self.register_buffer("counted_K", counted_K, persistent=False)

    def forward(self, logits_BKHW: Tensor, target: Tensor) -> Tensor:
        batch = self.read(logits_BKHW, target)
        probability_BKHW, truth_BKHW, valid_BKHW = probabilities(batch, self.read.multilabel)
        sums = OverlapSums(
            overlap_K=(probability_BKHW * truth_BKHW).sum(PIXEL_DIMENSIONS),
            predicted_K=self.magnitude(probability_BKHW).sum(PIXEL_DIMENSIONS),
            truth_K=self.magnitude(truth_BKHW).sum(PIXEL_DIMENSIONS),
            valid_K=valid_BKHW.sum(PIXEL_DIMENSIONS),
        )
        false_positive_K = None
        if not self.exhaustive:
            false_positive_K = probability_BKHW.sum(PIXEL_DIMENSIONS) / sums.valid_K.clamp_min(1)
        counted_K = self.counted_K.to(sums.truth_K.device)
        return mean_over_present(self.error(sums), sums.truth_K > 0, counted_K, false_positive_K)

    def magnitude(self, value_BKHW: Tensor) -> Tensor:
        return value_BKHW

    def error(self, sums: OverlapSums) -> Tensor:
        """0 for a perfect prediction to 1, per class; any finite value where truth_K is 0."""
        raise TypeError(f"{type(self).__name__} names no error.")

    def ratio(self, overlap_K: Tensor, whole_K: Tensor) -> Tensor:
        whole_K = whole_K + self.smooth
        return (overlap_K + self.smooth) / torch.where(whole_K > 0, whole_K, 1)


class Dice(_Overlap):
    """Dice loss (Milletari et al. 2016, arXiv:1606.04797): the mean of 1 - 2 sum(p t) / (sum p + sum t)
    over the classes in the batch's truth.

    smooth      pixels added to numerator and denominator
    squared     sum p^2 and t^2 in the denominator, as the paper does
    classes     classes that count, all where not given; [1] leaves the background out
    multilabel  classes do not exclude each other: sigmoid, target_BKHW of 0 and 1
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        smooth: float = 0.0,
        squared: bool = False,
        classes: tuple[int, ...] | None = None,
        multilabel: bool = False,
    ) -> None:
        super().__init__(
            "dice", num_classes, ignore_index, smooth=smooth, classes=classes, multilabel=multilabel
        )
        self.squared = squared

    def magnitude(self, value_BKHW: Tensor) -> Tensor:
        return value_BKHW.square() if self.squared else value_BKHW

    def error(self, sums: OverlapSums) -> Tensor:
        return 1 - self.ratio(2 * sums.overlap_K, sums.predicted_K + sums.truth_K)
