"""Scores derived from one confusion matrix over every valid pixel of the data set."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from segkit.api import ConfusionMatrix
from segkit_metrics.choices import counted_classes, names_of_classes

NOT_DEFINED = math.nan
ABSENT = (
    "a class absent from prediction and truth is n/a and in no mean, nor is one that is the "
    "ignored label"
)


class Counts(NamedTuple):
    """Pixels per class, float64: correct, in the truth, in the prediction."""

    correct_K: Tensor
    truth_K: Tensor
    predicted_K: Tensor


class OverlapScore(ABC):
    """A score that the confusion matrix determines; update() fills one of its own."""

    higher_is_better = True
    name: ClassVar[str]
    convention: ClassVar[str]

    def __init__(self, num_classes: int, ignore_index: int | None = None) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.confusion = ConfusionMatrix(num_classes, ignore_index)

    @property
    def state(self) -> dict[str, Tensor]:
        return {"confusion": self.confusion.bins}

    def update(self, label_BHW: Tensor, target_BHW: Tensor) -> None:
        self.confusion.update(label_BHW, target_BHW)

    def reset(self) -> None:
        self.confusion.reset()

    def compute(self) -> dict[str, float]:
        return self.from_counts(self.confusion.counts_KK)

    def from_counts(self, counts_KK: Tensor) -> dict[str, float]:
        """The scores of these counts; an evaluation counts once for all metrics that have this."""
        counts_KK = counts_KK.cpu().double()
        return self.scores(Counts(counts_KK.diagonal(), counts_KK.sum(1), counts_KK.sum(0)))

    @abstractmethod
    def scores(self, counts: Counts) -> dict[str, float]:
        """The scores by name, the one that decides first."""


class PixelAccuracy(OverlapScore):
    """Share of the valid pixels whose class is right."""

    name = "pixel_accuracy"
    convention = "correct valid pixels of all images over all valid pixels; n/a without any"

    def scores(self, counts: Counts) -> dict[str, float]:
        return {self.name: float(quotient(counts.correct_K.sum(), counts.truth_K.sum()))}


class FrequencyWeightedIoU(OverlapScore):
    """IoU of each class, weighted by the class's share of the truth (Long et al. 2015)."""

    name = "frequency_weighted_iou"
    convention = "IoU per class over all images, weighted by the class's share of the true pixels"

    def scores(self, counts: Counts) -> dict[str, float]:
        iou_K = quotient(counts.correct_K, union(counts)).nan_to_num(0.0)
        return {self.name: float(quotient((counts.truth_K * iou_K).sum(), counts.truth_K.sum()))}


class PerClassScore(OverlapScore):
    """A score per class and its mean over the classes for which it is defined."""

    mean_name: ClassVar[str]

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        classes: tuple[int, ...] | None = None,
        class_names: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(num_classes, ignore_index)
        self.counted = counted_classes(self.name, classes, num_classes, ignore_index)
        self.class_names = names_of_classes(self.name, class_names, num_classes)

    @abstractmethod
    def per_class(self, counts: Counts) -> Tensor:
        """The score of every class, NaN where it is not defined."""

    def scores(self, counts: Counts) -> dict[str, float]:
        score_K = self.per_class(counts)
        if self.ignore_index is not None and 0 <= self.ignore_index < self.num_classes:
            # Predicting it misses another class, and has no score of its own.
            score_K[self.ignore_index] = NOT_DEFINED
        mean = float(score_K[self.counted].nanmean())
        each = {
            f"{self.name}/{name}": float(score)
            for name, score in zip(self.class_names, score_K, strict=True)
        }
        return {self.mean_name: mean, **each}


class IoU(PerClassScore):
    """Intersection over union of each class over all valid pixels of all images; first their mean.

    classes      classes in the mean, all where not given
    class_names  a name per class, for the scores' names
    """

    name = "iou"
    mean_name = "miou"
    convention = (
        "IoU per class from one confusion matrix over all images, then the mean over classes; "
        f"{ABSENT}"
    )

    def per_class(self, counts: Counts) -> Tensor:
        return quotient(counts.correct_K, union(counts))


class MeanIoU(OverlapScore):
    """Mean over classes of the intersection over union over all valid pixels of all images.

    classes  classes in the mean, all where not given
    """

    name = "miou"
    convention = IoU.convention

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        classes: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(num_classes, ignore_index)
        self.counted = counted_classes(self.name, classes, num_classes, ignore_index)

    def scores(self, counts: Counts) -> dict[str, float]:
        iou_K = quotient(counts.correct_K, union(counts))
        return {self.name: float(iou_K[self.counted].nanmean())}


class Dice(PerClassScore):
    """Dice coefficient (F1) of each class over all valid pixels of all images; first their mean.

    classes      classes in the mean, all where not given
    class_names  a name per class, for the scores' names
    """

    name = mean_name = "dice"
    convention = (
        "Dice per class from one confusion matrix over all images, then the mean over classes; "
        f"{ABSENT}"
    )

    def per_class(self, counts: Counts) -> Tensor:
        return quotient(2 * counts.correct_K, counts.truth_K + counts.predicted_K)


class Precision(PerClassScore):
    """Share of the pixels given a class that are of it, over all images; first the classes' mean.

    classes      classes in the mean, all where not given
    class_names  a name per class, for the scores' names
    """

    name = mean_name = "precision"
    convention = (
        "precision per class from one confusion matrix over all images, then the mean over "
        "classes; a class that is never predicted is n/a and in no mean, nor is one that is the "
        "ignored label"
    )

    def per_class(self, counts: Counts) -> Tensor:
        return quotient(counts.correct_K, counts.predicted_K)


class Recall(PerClassScore):
    """Share of a class's pixels that were found, over all images; first the classes' mean.

    classes      classes in the mean, all where not given
    class_names  a name per class, for the scores' names
    """

    name = mean_name = "recall"
    convention = (
        "recall per class from one confusion matrix over all images, then the mean over classes "
        "(mean class accuracy); a class absent from the truth is n/a and in no mean"
    )

    def per_class(self, counts: Counts) -> Tensor:
        return quotient(counts.correct_K, counts.truth_K)


def union(counts: Counts) -> Tensor:
    return counts.truth_K + counts.predicted_K - counts.correct_K


def quotient(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, NaN where whole is 0."""
    return torch.where(whole > 0, part / whole, NOT_DEFINED)
