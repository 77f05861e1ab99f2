"""Losses that are a mean over pixels: cross-entropy, focal, and that of the hard pixels only."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segkit_losses.inputs import IGNORED, Batch, InputReader
from segkit_losses.means import weighted_mean
from segkit_losses.one_pass import ClassSums, OnePassLoss
from segkit_losses.settings import ClassWeights, at_least, share
from segkit_losses.tile import Wanted


class CrossEntropy(OnePassLoss):
    """Cross-entropy: the mean of -log p(true class) over the valid pixels.

    Value, and gradient beside its largest entry, are those of float64 within 1e-5 (the gradient of
    bfloat16 logits within 1e-2).

    class_weights    a weight per class; the mean is weighted too, as torch's cross_entropy does
    label_smoothing  share of the truth spread over all classes, 0 to 1 (Szegedy et al. 2016)
    multilabel       classes do not exclude each other: sigmoid, target_BKHW of 0 and 1
    """

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
        self.label_smoothing = share("ce", "label_smoothing", label_smoothing)
        self.class_weights = ClassWeights("ce", class_weights, num_classes)
        if not multilabel and not label_smoothing:
            self.wanted = Wanted(entropy=True)

    def plainly(self, logits_BKHW: Tensor, target: Tensor) -> Tensor:
        batch = self.read(logits_BKHW, target)
        weight_K = self.class_weights(batch.logits_BKHW)
        weight = pixel_weights(batch, weight_K)
        return weighted_mean(pixel_errors(batch, weight_K, self.label_smoothing), weight)

    def from_sums(self, sums: ClassSums) -> Tensor:
        weight_K = self.class_weights(sums.pixels_K)
        return weighted_mean(weight_K * sums.entropy_K, weight_K * sums.pixels_K)


class Focal(OnePassLoss):
    """Focal loss (Lin et al. 2017, arXiv:1708.02002): the mean of (1 - p)^gamma * -log p.

    p is the true class's softmax probability, so gamma=0 is cross-entropy itself. As exact as ce.

    gamma          how much easy pixels are played down, from 0
    class_weights  a weight per class (the paper's alpha); the mean is weighted too, as in ce
    multilabel     classes do not exclude each other: sigmoid, target_BKHW of 0 and 1
    """

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
        self.gamma = at_least("focal", "gamma", gamma, 0)
        self.class_weights = ClassWeights("focal", class_weights, num_classes)
        if not multilabel:
            # Without focus it is cross-entropy, to the last bit.
            self.wanted = Wanted(entropy=not self.gamma, gamma=self.gamma or None)

    def plainly(self, logits_BKHW: Tensor, target: Tensor) -> Tensor:
        batch = self.read(logits_BKHW, target)
        error = pixel_errors(batch)
        weight = pixel_weights(batch, self.class_weights(batch.logits_BKHW))
        # 1 - p without cancellation; the floor keeps the power's slope finite where gamma < 1.
        miss = (-torch.expm1(-error)).clamp_min(torch.finfo(error.dtype).tiny)
        return weighted_mean(weight * miss.pow(self.gamma) * error, weight)

    def from_sums(self, sums: ClassSums) -> Tensor:
        weight_K = self.class_weights(sums.pixels_K)
        error_K = sums.focal_K if self.gamma else sums.entropy_K
        return weighted_mean(weight_K * error_K, weight_K * sums.pixels_K)


class HardPixels(nn.Module):
    """Cross-entropy of the hard pixels only: the mean over those whose true class is improbable.

    Online hard example mining (Shrivastava et al. 2016, arXiv:1604.03540), of pixels: kept are
    those that give their true class at most `threshold`, and at least the share `min_kept`.

    Value and gradient are those of float64 but for rounding (1e-5; bfloat16 logits: 1e-2 of the
    gradient), except where a pixel's error is so near another's, or the threshold, that rounding
    decides which of them is kept.

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
        self.threshold = share("ohem", "threshold", threshold, zero=False)
        self.min_kept = share("ohem", "min_kept", min_kept)

    def forward(self, logits_BKHW: Tensor, target: Tensor) -> Tensor:
        batch = self.read(logits_BKHW, target)
        error = pixel_errors(batch)
        weight = pixel_weights(batch) * self._kept(error.detach(), batch.valid)
        return weighted_mean(error * weight, weight)

    def _kept(self, error: Tensor, valid: Tensor) -> Tensor:
        """1 for hard pixels, 0 for others; tensors alone, so that nothing waits for the device.

        Pixels that share the last place, as all do whose error rounds to 0, share its weight: else
        a mean over the few hard ones would become one over the whole image.
        """
        descending_N = error.flatten().sort(descending=True).values
        kept = (valid.sum() * self.min_kept).ceil().long().clamp(1, descending_N.numel())
        last = descending_N.gather(0, (kept - 1).reshape(1)).reshape(())
        harder, last_too = error > last, (error == last) & valid
        share = (kept - harder.sum()).to(error) / last_too.sum().clamp_min(1)
        by_rank = torch.where(harder, 1.0, torch.where(last_too, share, 0.0))
        return torch.where(error >= -math.log(self.threshold), 1.0, by_rank)


def pixel_errors(
    batch: Batch, class_weight_K: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """-log p of the truth times its class weight, in the target's shape; 0 where ignored."""
    multilabel = batch.target.dim() == 4
    if multilabel:
        truth_BKHW = batch.target * (1 - label_smoothing) + label_smoothing / 2
        error_BKHW = F.binary_cross_entropy_with_logits(
            batch.logits_BKHW, truth_BKHW, reduction="none"
        )
        return error_BKHW * pixel_weights(batch, class_weight_K)
    return F.cross_entropy(
        batch.logits_BKHW,
        batch.target,
        weight=class_weight_K,
        ignore_index=IGNORED,
        # Summed by our means: torch's own sum is not deterministic on a CUDA device.
        reduction="none",
        label_smoothing=label_smoothing,
    )


def pixel_weights(batch: Batch, class_weight_K: Tensor | None = None) -> Tensor:
    """The class weight of every pixel (multilabel: of every pixel and class), 0 where ignored."""
    valid = batch.valid.to(batch.logits_BKHW.dtype)
    if class_weight_K is None:
        return valid
    if valid.dim() == 4:
        return valid * class_weight_K[:, None, None]
    return valid * class_weight_K[batch.target.clamp_min(0)]
