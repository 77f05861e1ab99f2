"""Losses that are a mean over pixels: cross-entropy, focal, and cross-entropy of the hard pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segkit_losses.inputs import (
    IGNORED,
    Batch,
    InputReader,
    class_weight_tensor,
    in_range,
    weighted_mean,
)


class CrossEntropy(nn.Module):
    """Cross-entropy: the mean of -log p(true class) over valid pixels; multilabel: of each class's own.

    class_weights    a weight per class; the mean is weighted, as in torch.nn.functional.cross_entropy
    label_smoothing  share of the truth spread evenly over all classes, 0 to 1 (Szegedy et al. 2016)
    multilabel       classes do not exclude each other: sigmoid, target_BKHW of 0 and 1
    """

    class_weight_K: Tensor

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        class_weights: tuple[float, ...] | None = None,
        label_smoothing: float = 0.0,
        multilabel: bool = False,
    ) -> None:
        super().__init__()
        self.read = InputReader("ce", num_classes, ignore_index, multilabel)
        self.label_smoothing = in_range("ce", "label_smoothing", label_smoothing, 0, 1)
        weight_K = class_weight_tensor("ce", class_weights, num_classes)
        self.register_buffer("class_weight_K", weight_K, persistent=False)

    def forward(self, logits_BKHW: Tensor, target: Tensor) -> Tensor:
        batch = self.read(logits_BKHW, target)
        error, weight = pixel_errors(
            batch, self.read.multilabel, self.class_weight_K, self.label_smoothing
        )
        return weighted_mean(error, weight)


class Focal(nn.Module):
    """Focal loss (Lin et al. 2017, arXiv:1708.02002) over softmax: the mean of (1 - p)^gamma * -log p,
    p the true class's probability. gamma=0 is ce to the last bit.

    gamma          how much easy pixels are played down, from 0
    class_weights  a weight per class (the paper's alpha); the mean is weighted, as in ce
    multilabel     classes do not exclude each other: sigmoid, target_BKHW of 0 and 1
    """

    class_weight_K: Tensor

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        gamma: float = 2.0,
        class_weights: tuple[float, ...] | None = None,
        multilabel: bool = False,
    ) -> None:
        super().__init__()
        self.read = InputReader("focal", num_classes, ignore_index, multilabel)
        self.gamma = in_range("focal", "gamma", gamma, 0)
        weight_K = class_weight_tensor("focal", class_weights, num_classes)
        self.register_buffer("class_weight_K", weight_K, persistent=False)

    def forward(self, logits_BKHW: Tensor, target: Tensor) -> Tensor:
        batch = self.read(logits_BKHW, target)
        error, _ = pixel_errors(batch, self.read.multilabel)
        weight = pixel_weights(batch, self.read.multilabel, self.class_weight_K)
        # 1 - p without cancellation; the floor keeps the power's slope finite where gamma < 1.
        miss = (-torch.expm1(-error)).clamp_min(torch.finfo(error.dtype).tiny)
        return weighted_mean(weight * miss.pow(self.gamma) * error, weight)


class HardPixels(nn.Module):
    """Cross-entropy of the hard pixels only (online hard example mining, Shrivastava et al. 2016,
    arXiv:1604.03540): those whose true class has at most `threshold`, and at least a share `min_kept`.

    threshold   probability of the true class up to which a pixel is hard
    min_kept    share of the valid pixels, the hardest, that is kept in any case
    multilabel  classes do not exclude each other: sigmoid, target_BKHW of 0 and 1
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        threshold: float = 0.7,
        min_kept: float = 0.0625,
        multilabel: bool = False,
    ) -> None:
        super().__init__()
        self.read = InputReader("ohem", num_classes, ignore_index, multilabel)
        self.threshold = in_range("ohem", "threshold", threshold, 0, 1, above=True)
        self.min_kept = in_range("ohem", "min_kept", min_kept, 0, 1)

    def forward(self, logits_BKHW: Tensor, target: Tensor) -> Tensor:
        batch = self.read(logits_BKHW, target)
        error, weight = pixel_errors(batch, self.read.multilabel)
        hard = error.detach() >= self._limit(error.detach(), batch.valid)
        weight = weight * hard
        return weighted_mean(error * weight, weight)

    def _limit(self, error: Tensor, valid: Tensor) -> Tensor:
        """The smallest error that is kept; a tensor, so that nothing waits for the device."""
        descending_N = torch.where(valid, error, -1).flatten().sort(descending=True).values
        kept = (valid.sum() * self.min_kept).ceil().long().clamp(1, descending_N.numel())
        fallback = descending_N.gather(0, (kept - 1).reshape(1)).reshape(())
        return fallback.clamp_max(-math.log(self.threshold))


def pixel_errors(
    batch: Batch,
    multilabel: bool,
    class_weight_K: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """(-log p of the truth times its weight, the weight), both in the target's shape, 0 where ignored."""
    weight = pixel_weights(batch, multilabel, class_weight_K)
    if not multilabel:
        weight_K = None
        if class_weight_K is not None:
            weight_K = class_weight_K.to(batch.logits_BKHW)
        error_BHW = F.cross_entropy(
            batch.logits_BKHW,
            batch.target,
            weight=weight_K,
            ignore_index=IGNORED,
            reduction="none",
            label_smoothing=label_smoothing,
        )
        return error_BHW, weight
    truth_BKHW = batch.target * (1 - label_smoothing) + label_smoothing / 2
    error_BKHW = F.binary_cross_entropy_with_logits(batch.logits_BKHW, truth_BKHW, reduction="none")
    return error_BKHW * weight, weight


def pixel_weights(batch: Batch, multilabel: bool, class_weight_K: Tensor | None) -> Tensor:
    """The class weight of every pixel (multilabel: of every pixel and class), 0 where ignored."""
    valid = batch.valid.to(batch.logits_BKHW.dtype)
    if class_weight_K is None:
        return valid
    weight_K = class_weight_K.to(valid)
    if multilabel:
        return valid * weight_K[:, None, None]
    return valid * weight_K[batch.target.clamp_min(0)]
