"""Losses over the overlap of prediction and truth: Dice, Jaccard, Tversky, focal Tversky.

Sums run over every valid pixel of the batch, per class: P of the probabilities, T of the truth, and
their overlap I = sum p t. The loss is the mean over the classes that the batch's truth holds.

A false positive for any other class still costs: as a false negative of the pixel's own class, or,
where a pixel may have no counted class (multilabel, or only some `classes` count), because the mean
probability of the absent classes is added.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from segkit_losses.inputs import InputReader, probabilities
from segkit_losses.means import mean_over_present
from segkit_losses.one_pass import ClassSums, OnePassLoss
from segkit_losses.settings import at_least, counted_classes
from segkit_losses.tiles import Wanted

PIXELS = (0, 2, 3)


class OverlapSums(NamedTuple):
    """I, P and T of every class."""

    overlap_K: Tensor
    predicted_K: Tensor
    truth_K: Tensor


class _OverlapLoss(OnePassLoss):
    counted_K: Tensor
    squared = False

    def __init__(
        self, read: InputReader, smooth: float, classes: tuple[int, ...] | None = None
    ) -> None:
        super().__init__()
        self.read = read
        self.smooth = at_least(read.name, "smooth", smooth, 0)
        self.exhaustive = not read.multilabel and classes is None
        counted_K = counted_classes(read.name, classes, read.num_classes)
        self.register_buffer("counted_K", counted_K, persistent=False)
        if not read.multilabel:
            self.wanted = Wanted(overlap=True, squared=False, entropy=False, gamma=None)

    def plainly(self, logits_BKHW: Tensor, target: Tensor) -> Tensor:
        batch = self.read(logits_BKHW, target)
        probability_BKHW, truth_BKHW, valid_BKHW = probabilities(batch, self.read.multilabel)
        sums = OverlapSums(
            overlap_K=(probability_BKHW * truth_BKHW).sum(PIXELS),
            predicted_K=self.magnitude(probability_BKHW).sum(PIXELS),
            truth_K=self.magnitude(truth_BKHW).sum(PIXELS),
        )
        false_positive_K = None
        if not self.exhaustive:
            false_positive_K = probability_BKHW.sum(PIXELS) / valid_BKHW.sum(PIXELS).clamp_min(1)
        present_K = sums.truth_K > 0
        return mean_over_present(self.error(sums), present_K, self.counted_K, false_positive_K)

    def from_sums(self, sums: ClassSums) -> Tensor:
        # The truth is 0 or 1: its squares are itself.
        predicted_K = sums.squared_K if self.squared else sums.predicted_K
        error_K = self.error(OverlapSums(sums.overlap_K, predicted_K, sums.pixels_K))
        false_positive_K = None
        if not self.exhaustive:
            false_positive_K = sums.predicted_K / sums.pixels_K.sum().clamp_min(1)
        return mean_over_present(error_K, sums.pixels_K > 0, self.counted_K, false_positive_K)

    def magnitude(self, value_BKHW: Tensor) -> Tensor:
        """What P and T are sums of."""
        return value_BKHW.square() if self.squared else value_BKHW

    @abstractmethod
    def error(self, sums: OverlapSums) -> Tensor:
        """0 (perfect) to 1 per class; any finite value for a class that is not in the truth."""

    def ratio(self, part_K: Tensor, whole_K: Tensor) -> Tensor:
        whole_K = whole_K + self.smooth
        return (part_K + self.smooth) / torch.where(whole_K > 0, whole_K, 1)


class Dice(_OverlapLoss):
    """Dice loss (Milletari et al. 2016, arXiv:1606.04797): the mean of 1 - 2 I / (P + T).

    I = sum p t, P = sum p and T = sum t of a class, over the valid pixels of the batch; the mean
    runs over the classes in the batch's truth.

    smooth      pixels added to numerator and denominator
    squared     sums of p^2 and t^2 in the denominator, as in the paper
    classes     classes that count, all where not given; [1] leaves a background of 0 out
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
            InputReader("dice", num_classes, ignore_index, multilabel), smooth, classes
        )
        self.squared = squared
        if self.wanted is not None:
            self.wanted = self.wanted._replace(squared=squared)

    def error(self, sums: OverlapSums) -> Tensor:
        return 1 - self.ratio(2 * sums.overlap_K, sums.predicted_K + sums.truth_K)


class Jaccard(_OverlapLoss):
    """Jaccard (soft IoU) loss (Rahman and Wang 2016): the mean of 1 - I / (P + T - I).

    I, P, T and the mean as for dice.

    smooth      pixels added to numerator and denominator
    classes     classes that count, all where not given; [1] leaves a background of 0 out
    multilabel  classes do not exclude each other: sigmoid, target_BKHW of 0 and 1
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        smooth: float = 0.0,
        classes: tuple[int, ...] | None = None,
        multilabel: bool = False,
    ) -> None:
        super().__init__(
            InputReader("jaccard", num_classes, ignore_index, multilabel), smooth, classes
        )

    def error(self, sums: OverlapSums) -> Tensor:
        union_K = sums.predicted_K + sums.truth_K - sums.overlap_K
        return 1 - self.ratio(sums.overlap_K, union_K)


class _TverskyLoss(_OverlapLoss):
    def __init__(
        self,
        read: InputReader,
        *,
        alpha: float,
        beta: float,
        smooth: float,
        classes: tuple[int, ...] | None,
    ) -> None:
        super().__init__(read, smooth, classes)
        self.alpha = at_least(read.name, "alpha", alpha, 0)
        self.beta = at_least(read.name, "beta", beta, 0)

    def error(self, sums: OverlapSums) -> Tensor:
        false_positive_K = sums.predicted_K - sums.overlap_K
        false_negative_K = sums.truth_K - sums.overlap_K
        wrong_K = self.alpha * false_positive_K + self.beta * false_negative_K
        return 1 - self.ratio(sums.overlap_K, sums.overlap_K + wrong_K)


class Tversky(_TverskyLoss):
    """Tversky loss (Salehi et al. 2017, arXiv:1706.05721): 1 - I / (I + alpha FP + beta FN).

    FP = P - I and FN = T - I; I, P, T and the mean as for dice. alpha = beta = 0.5 is dice,
    alpha = beta = 1 is jaccard.

    alpha       weight of false positives
    beta        weight of false negatives
    smooth      pixels added to numerator and denominator
    classes     classes that count, all where not given; [1] leaves a background of 0 out
    multilabel  classes do not exclude each other: sigmoid, target_BKHW of 0 and 1
    """

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
        read = InputReader("tversky", num_classes, ignore_index, multilabel)
        super().__init__(read, alpha=alpha, beta=beta, smooth=smooth, classes=classes)


class FocalTversky(_TverskyLoss):
    """Focal Tversky loss (Abraham and Khan 2018, arXiv:1810.07842): tversky^(1 / gamma) per class.

    The power is taken of each class's Tversky error, before the mean.

    alpha       weight of false positives (the paper's beta)
    beta        weight of false negatives (the paper's alpha)
    gamma       above 1, classes already segmented well count for more; the paper's choice is 4/3
    smooth      pixels added to numerator and denominator
    classes     classes that count, all where not given; [1] leaves a background of 0 out
    multilabel  classes do not exclude each other: sigmoid, target_BKHW of 0 and 1
    """

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
        read = InputReader("focal_tversky", num_classes, ignore_index, multilabel)
        super().__init__(read, alpha=alpha, beta=beta, smooth=smooth, classes=classes)
        self.gamma = at_least("focal_tversky", "gamma", gamma, 1)

    def error(self, sums: OverlapSums) -> Tensor:
        error_K = super().error(sums)
        # The power's slope is infinite at 0; below the type's resolution the error counts as 0.
        floor = torch.finfo(error_K.dtype).eps
        return torch.where(error_K > floor, error_K.clamp_min(floor).pow(1 / self.gamma), 0)
