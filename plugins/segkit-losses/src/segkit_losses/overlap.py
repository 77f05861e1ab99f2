"""Losses over the overlap of prediction and truth: Dice, Jaccard, Tversky, focal Tversky.

Sums run over every valid pixel of the batch, per class: P of the probabilities, T of the truth, and
their overlap I = sum p t. The loss is the mean over the classes that the batch's truth holds.

A false positive for any other class still costs: as a false negative of the pixel's own class, or,
where a pixel may have no counted class (multilabel, or only some `classes` count), because the mean
probability of the absent classes is added.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segkit_losses.inputs import InputReader, probabilities
from segkit_losses.means import mean_over_present
from segkit_losses.one_pass import ClassSums, OnePassLoss
from segkit_losses.settings import at_least, counted_classes
from segkit_losses.tile import Wanted

PIXELS = (0, 2, 3)


class OverlapSums(NamedTuple):
    """I, P and T of every class."""

    overlap_K: Tensor
    predicted_K: Tensor
    truth_K: Tensor


class Jaccard(OnePassLoss):
    """Jaccard (soft IoU) loss (Rahman and Wang 2016): the mean of 1 - I / (P + T - I).

    I, P, T, the mean and the exactness as for dice.

    smooth      pixels added to numerator and denominator
    classes     classes that count, all where not given; [1] leaves a background of 0 out
    multilabel  classes do not exclude each other: sigmoid, target_BKHW of 0 and 1
    """

    name = "jaccard"
    counted_K: Tensor
    squared = False

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        smooth: float = 0.0,
        classes: tuple[int, ...] | None = None,
        multilabel: bool = False,
    ) -> None:
        super().__init__()
        self.read = InputReader(self.name, num_classes, ignore_index, multilabel)
        self.smooth = at_least(self.name, "smooth", smooth, 0)
        self.exhaustive = not multilabel and classes is None
        counted_K = counted_classes(self.name, classes, num_classes)
        self.register_buffer("counted_K", counted_K, persistent=False)
        if not multilabel:
            self.wanted = Wanted(overlap=True)

    def error(self, sums: OverlapSums) -> Tensor:
        """0 (perfect) to 1 per class; any finite value for a class that is not in the truth."""
        union_K = sums.predicted_K + sums.truth_K - sums.overlap_K
        return 1 - self.ratio(sums.overlap_K, union_K)

    def plainly(self, logits_BKHW: Tensor, target: Tensor) -> Tensor:
        batch = self.read(logits_BKHW, target)
        p_BKHW, truth_BKHW, valid_BKHW = probabilities(batch, self.read.multilabel)
        squared_BKHW, truth_squared_BKHW = p_BKHW, truth_BKHW
        if self.squared:
            squared_BKHW, truth_squared_BKHW = p_BKHW.square(), truth_BKHW.square()
        sums = OverlapSums(
            overlap_K=(p_BKHW * truth_BKHW).sum(PIXELS),
            predicted_K=squared_BKHW.sum(PIXELS),
            truth_K=truth_squared_BKHW.sum(PIXELS),
        )
        return self.mean(sums, p_BKHW.sum(PIXELS), valid_BKHW.sum(PIXELS))

    def from_sums(self, sums: ClassSums) -> Tensor:
        # The truth is 0 or 1: its squares are itself.
        predicted_K = sums.squared_K if self.squared else sums.predicted_K
        overlap = OverlapSums(sums.overlap_K, predicted_K, sums.pixels_K)
        return self.mean(overlap, sums.predicted_K, sums.pixels_K.sum())

    def mean(self, sums: OverlapSums, predicted_K: Tensor, valid: Tensor) -> Tensor:
        """Over the classes in the truth; predicted_K is the sum of p, valid its pixels."""
        false_positive_K = None if self.exhaustive else predicted_K / valid.clamp_min(1)
        present_K = sums.truth_K > 0
        return mean_over_present(self.error(sums), present_K, self.counted_K, false_positive_K)

    def ratio(self, part_K: Tensor, whole_K: Tensor) -> Tensor:
        whole_K = whole_K + self.smooth
        # Equal to 0 where nothing is; NaN stays NaN.
        return (part_K + self.smooth) / torch.where(whole_K == 0, 1, whole_K)


class Dice(Jaccard):
    """Dice loss (Milletari et al. 2016, arXiv:1606.04797): the mean of 1 - 2 I / (P + T).

    I = sum p t, P = sum p and T = sum t of a class, over the valid pixels of the batch; the mean
    runs over the classes in the batch's truth. Value, and gradient beside its largest entry, are
    those of float64 within 1e-5 (the gradient of bfloat16 logits within 1e-2).

    smooth      pixels added to numerator and denominator
    squared     sums of p^2 and t^2 in the denominator, as in the paper
    classes     classes that count, all where not given; [1] leaves a background of 0 out
    multilabel  classes do not exclude each other: sigmoid, target_BKHW of 0 and 1
    """

    name = "dice"

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
            num_classes, ignore_index, smooth=smooth, classes=classes, multilabel=multilabel
        )
        self.squared = squared
        if self.wanted is not None:
            self.wanted = self.wanted._replace(squared=squared)

    def error(self, sums: OverlapSums) -> Tensor:
        return 1 - self.ratio(2 * sums.overlap_K, sums.predicted_K + sums.truth_K)


class Tversky(Jaccard):
    """Tversky loss (Salehi et al. 2017, arXiv:1706.05721): 1 - I / (I + alpha FP + beta FN).

    FP = P - I and FN = T - I; I, P, T, the mean and the exactness as for dice. alpha = beta = 0.5
    is dice, alpha = beta = 1 is jaccard.

    alpha       weight of false positives
    beta        weight of false negatives
    smooth      pixels added to numerator and denominator
    classes     classes that count, all where not given; [1] leaves a background of 0 out
    multilabel  classes do not exclude each other: sigmoid, target_BKHW of 0 and 1
    """

    name = "tversky"

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float = 0.0,
        classes: tuple[int, ...] | None = None,
        multilabel: bool = False,
    ) -> None:
        super().__init__(
            num_classes, ignore_index, smooth=smooth, classes=classes, multilabel=multilabel
        )
        self.alpha = at_least(self.name, "alpha", alpha, 0)
        self.beta = at_least(self.name, "beta", beta, 0)

    def error(self, sums: OverlapSums) -> Tensor:
        false_positive_K = sums.predicted_K - sums.overlap_K
        false_negative_K = sums.truth_K - sums.overlap_K
        wrong_K = self.alpha * false_positive_K + self.beta * false_negative_K
        return 1 - self.ratio(sums.overlap_K, sums.overlap_K + wrong_K)


class FocalTversky(Tversky):
    """Focal Tversky loss (Abraham and Khan 2018, arXiv:1810.07842): tversky^(1 / gamma) per class.

    The power is taken of each class's Tversky error, before the mean.

    alpha       weight of false positives (the paper's beta)
    beta        weight of false negatives (the paper's alpha)
    gamma       above 1, classes already segmented well count for more; the paper's choice is 4/3
    smooth      pixels added to numerator and denominator
    classes     classes that count, all where not given; [1] leaves a background of 0 out
    multilabel  classes do not exclude each other: sigmoid, target_BKHW of 0 and 1
    """

    name = "focal_tversky"

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 4 / 3,
        smooth: float = 0.0,
        classes: tuple[int, ...] | None = None,
        multilabel: bool = False,
    ) -> None:
        super().__init__(
            num_classes,
            ignore_index,
            alpha=alpha,
            beta=beta,
            smooth=smooth,
            classes=classes,
            multilabel=multilabel,
        )
        self.gamma = at_least(self.name, "gamma", gamma, 1)

    def error(self, sums: OverlapSums) -> Tensor:
        error_K = super().error(sums)
        # The power's slope is infinite at 0; below the type's resolution the error counts as 0.
        # What is no number is not below it, and stays what it is.
        floor = torch.finfo(error_K.dtype).eps
        return torch.where(error_K <= floor, 0, error_K.clamp_min(floor).pow(1 / self.gamma))
