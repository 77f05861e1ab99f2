"""The sums that losses are made of, and their gradient, for one tile of pixels at a time.

A tile is a matrix of logits, (K, N): N pixels in any order, few enough to stay in the cache. With p
the softmax probabilities and e = -log p of a pixel's true class,

    d e / d logit_k            = p_k - [k is the true class]
    d sum_j f(p_j) / d logit_k = p_k (f'_k - sum_j p_j f'_j)

so any weighted sum of the sums below, whose derivative in e is a, has the gradient

    p_k (a + f'_k - sum_j p_j f'_j) - a [k is the true class]

The arithmetic is float32, or float64 for float64 logits. Ignored pixels change neither the sums nor
the gradient, whatever their logits hold, NaN and infinity included.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# exp2 is 2.6 times as fast as exp in torch's CPU kernels (0.32 and 0.83 ns an element measured).
LOG2_E = math.log2(math.e)
# Beyond, softplus(x) is x to the last bit of float64.
LINEAR_BEYOND = 40.0
# Labels below are counted as bytes.
BYTE = 256

# The sums, one number a class each, as rows of one tensor (R, K).
OVERLAP, PREDICTED, SQUARED, PIXELS, ENTROPY, FOCAL = range(6)
ROWS = 6


class Wanted(NamedTuple):
    """Which sums are asked for, per class k over the valid pixels; the others stay 0.

    overlap   OVERLAP, the sum of p_k over the pixels of class k, and PREDICTED, over all pixels
    squared   SQUARED, the sum of p_k^2 over all pixels; only together with overlap
    entropy   ENTROPY, the sum of e over the pixels of class k
    gamma     FOCAL, the sum of (1 - p_k)^gamma e over these, with this exponent; None: not asked

    PIXELS, the number of pixels of class k, always comes.
    """

    overlap: bool = False
    squared: bool = False
    entropy: bool = False
    gamma: float | None = None


class Tile:
    """Some pixels of three classes or more.

    logits_KN    overwritten by both methods, of which one may be called, once
    label_N      of any integer type
    """

    def __init__(self, logits_KN: Tensor, label_N: Tensor, ignore_index: int | None) -> None:
        self.logits_KN = logits_KN
        self.classes, self.pixels = logits_KN.shape
        # A narrow type would take ignore_index -1 for 255.
        self.class_N = label_N.long()
        low, high = (int(each) for each in torch.aminmax(self.class_N))
        among_classes = ignore_index is not None and 0 <= ignore_index < self.classes
        self.bins, ignored = max(self.classes, BYTE), ignore_index
        if low < 0 or high >= self.bins or (among_classes and low <= (ignore_index or 0) <= high):
            # K for the label to ignore, K + 1 for what is neither that nor a class.
            self.bins, ignored = self.classes + 2, self.classes
            outside_N = (self.class_N < 0) | (self.class_N >= self.classes)
            class_N = torch.where(outside_N, self.classes + 1, self.class_N)
            if ignore_index is not None:
                class_N = torch.where(self.class_N == ignore_index, self.classes, class_N)
            self.class_N, high = class_N, self.bins
        # Bytes are counted twice as fast as wide labels.
        self.bin_N = self.class_N.to(torch.uint8) if self.bins <= BYTE else self.class_N
        self.ignored = ignored
        self.valid_N: Tensor | None = None
        if high >= self.classes:
            # Written as numbers: torch compares 5 times as fast as where it writes truth values.
            self.valid_N = torch.empty(self.pixels, dtype=logits_KN.dtype)
            torch.lt(self.bin_N, self.classes, out=self.valid_N)

    def outside(self) -> int:
        """How many pixels hold neither a class nor the label to ignore; they count as ignored."""
        if self.valid_N is None:
            return 0
        others_N = self.bin_N >= self.classes
        if self.ignored is not None:
            others_N &= self.bin_N != self.ignored
        return int(torch.count_nonzero(others_N))

    def add_sums(self, sums_RK: Tensor, wanted: Wanted) -> None:
        """Adds the sums of these pixels to sums_RK, float64."""
        raised_KN, share_N, error_N = self._exponentials()
        sums_RK[PIXELS] += self._per_class(None)
        if wanted.entropy:
            sums_RK[ENTROPY] += self._per_class(error_N)
        if wanted.gamma is not None:
            sums_RK[FOCAL] += self._per_class(missed(error_N).pow_(wanted.gamma).mul_(error_N))
        if wanted.overlap:
            sums_RK[OVERLAP] += self._per_class(error_N.neg().exp_())
            sums_RK[PREDICTED] += torch.mv(raised_KN, share_N)
        if wanted.squared:
            sums_RK[SQUARED] += raised_KN.mul_(share_N).square_().sum(dim=1)

    def gradient(self, weights_RK: Tensor, wanted: Wanted, room_KN: Tensor) -> Tensor:
        """Of (weights_RK * sums_RK).sum() in the logits, (K, N); in room_KN or in the logits."""
        raised_KN, share_N, error_N = self._exponentials()
        slope_N = self._slope_in_error(error_N, weights_RK, wanted)
        if not wanted.overlap:
            gradient_KN = raised_KN.mul_(slope_N * share_N)
        elif wanted.squared:
            p_KN = raised_KN.mul_(share_N)
            torch.mul(p_KN, 2 * weights_RK[SQUARED][:, None], out=room_KN)
            room_KN.add_(weights_RK[PREDICTED][:, None])
            room_KN.add_(slope_N - torch.linalg.vecdot(p_KN, room_KN, dim=0))
            gradient_KN = room_KN.mul_(p_KN)
        else:
            mean_N = torch.mv(raised_KN.t(), weights_RK[PREDICTED]).mul_(share_N)
            lift_N = (slope_N - mean_N).mul_(share_N)
            torch.addr(lift_N, weights_RK[PREDICTED], share_N, out=room_KN)
            gradient_KN = room_KN.mul_(raised_KN)
        gradient_KN.view(-1).scatter_add_(0, self._places(), slope_N.neg_())
        return gradient_KN

    def _slope_in_error(self, error_N: Tensor, weights_RK: Tensor, wanted: Wanted) -> Tensor:
        """What is summed, differentiated by e: 0 where ignored."""
        weights_RB = F.pad(weights_RK, (0, self.bins - self.classes))

        def weight(row: int) -> Tensor:
            return weights_RB[row].index_select(0, self.class_N)

        slope_N = weight(ENTROPY) if wanted.entropy else torch.zeros_like(error_N)
        if wanted.gamma is not None:
            slope_N += focal_slope(error_N, missed(error_N), wanted.gamma).mul_(weight(FOCAL))
        if wanted.overlap:
            slope_N -= error_N.neg_().exp_().mul_(weight(OVERLAP))
        return slope_N

    def _per_class(self, value_N: Tensor | None) -> Tensor:
        """The sum of value_N over the pixels of each class, float64, or how many these are."""
        # In float64: bincount adds float32 weights in float32, one by one.
        weight_N = None if value_N is None else value_N.double()
        return torch.bincount(self.bin_N, weight_N, minlength=self.classes)[: self.classes]

    def _exponentials(self) -> tuple[Tensor, Tensor, Tensor]:
        """raised_KN and share_N, whose product is p, 0 where ignored; and error_N = e."""
        logits_KN = self.logits_KN.sub_(torch.amax(self.logits_KN, dim=0))
        # In one dimension, at a third of what `gather` along the classes takes.
        error_N = logits_KN.view(-1).index_select(0, self._places()).neg_()
        raised_KN = logits_KN.mul_(LOG2_E).exp2_()
        total_N = raised_KN.sum(dim=0)
        if self.valid_N is None:
            return raised_KN, total_N.reciprocal(), error_N.add_(total_N.log_())
        if not math.isfinite(float(total_N.sum() + error_N.sum())):
            ignored_N = self.valid_N == 0
            raised_KN.masked_fill_(ignored_N, 0)
            total_N.masked_fill_(ignored_N, 1)
            error_N.masked_fill_(ignored_N, 0)
        share_N = total_N.reciprocal().mul_(self.valid_N)
        return raised_KN, share_N, error_N.add_(total_N.log_())

    def _places(self) -> Tensor:
        """Where each pixel's true class is in a flattened (K, N) map; anywhere where ignored."""
        class_N = self.class_N
        if self.valid_N is not None:
            class_N = class_N.clamp(max=self.classes - 1)
        return torch.add(torch.arange(self.pixels), class_N, alpha=self.pixels)


class TwoClassTile:
    """The same for two classes, with one exponential a pixel.

    All follows from the margin, by which the other class's logit exceeds the true one's: p of the
    other class is q = sigmoid(margin), that of the true class 1 - q, and e = softplus(margin). With
    masks of 0 and 1 a sum per class is a product of a matrix and a vector.
    """

    def __init__(self, logits_2N: Tensor, label_N: Tensor, ignore_index: int | None) -> None:
        self.label_N, self.ignored, dtype = label_N, ignore_index, logits_2N.dtype
        # However it is rounded, a label that is no class becomes none.
        value_N = label_N if label_N.dtype == torch.uint8 else label_N.to(dtype)
        self.mask_2N = torch.empty(2, len(label_N), dtype=dtype)
        # Written as numbers: torch compares 5 times as fast as where it writes truth values.
        torch.eq(value_N, torch.arange(2, dtype=value_N.dtype)[:, None], out=self.mask_2N)
        if ignore_index in (0, 1):
            self.mask_2N[ignore_index].zero_()
        self.pixels_2 = self.mask_2N.sum(dim=1).double()
        sign_N = torch.sub(*self.mask_2N)
        self.margin_N = torch.sub(logits_2N[1], logits_2N[0], out=logits_2N[1]).mul_(sign_N)
        self.others = len(label_N) - int(self.pixels_2.sum())
        # 0 times what is no number.
        if self.others and not math.isfinite(float(self.margin_N.sum())):
            self.margin_N.masked_fill_(sign_N == 0, 0)

    def outside(self) -> int:
        """As Tile.outside."""
        if not self.others or self.ignored is None:
            return self.others
        return self.others - int(torch.count_nonzero(self.label_N.long() == self.ignored))

    def add_sums(self, sums_RK: Tensor, wanted: Wanted) -> None:
        """As Tile.add_sums."""
        error_N = F.softplus(self.margin_N, threshold=LINEAR_BEYOND)
        missed_N = self.margin_N.sigmoid_()
        pixels_2, mask_2N = self.pixels_2, self.mask_2N
        sums_RK[PIXELS] += pixels_2
        if wanted.entropy:
            sums_RK[ENTROPY] += torch.mv(mask_2N, error_N)
        if wanted.gamma is not None:
            sums_RK[FOCAL] += torch.mv(mask_2N, missed_N.pow(wanted.gamma).mul_(error_N))
        if wanted.overlap:
            # The other class takes what the true one lacks.
            missed_2 = torch.mv(mask_2N, missed_N).double()
            sums_RK[OVERLAP] += pixels_2 - missed_2
            sums_RK[PREDICTED] += pixels_2 - missed_2 + missed_2.flip(0)
            if wanted.squared:
                squared_2 = torch.mv(mask_2N, missed_N.square()).double()
                sums_RK[SQUARED] += pixels_2 - 2 * missed_2 + squared_2 + squared_2.flip(0)

    def gradient(self, weights_RK: Tensor, wanted: Wanted, room_2N: Tensor) -> Tensor:
        """As Tile.gradient: q (a + (1 - q) (f'(q) of the other class - f'(1 - q) of its own))."""
        missed_N = torch.sigmoid(self.margin_N)
        entropy_2, predicted_2 = weights_RK[ENTROPY], weights_RK[PREDICTED]
        # The bracket's second summand, (1 - q) (flat + steep q), multiplied out.
        flat_2 = predicted_2.flip(0) - predicted_2 - weights_RK[OVERLAP]
        steep_2 = torch.zeros_like(flat_2)
        if wanted.squared:
            own_2 = 2 * weights_RK[SQUARED]
            flat_2, steep_2 = flat_2 - own_2, own_2 + own_2.flip(0)
        slope_N = self._signed(entropy_2 + flat_2)
        if wanted.overlap:
            slope_N.addcmul_(self._signed(steep_2 - flat_2), missed_N)
        if wanted.squared:
            slope_N.addcmul_(self._signed(steep_2), missed_N.square(), value=-1)
        if wanted.gamma is not None:
            error_N = F.softplus(self.margin_N, threshold=LINEAR_BEYOND)
            focal_N = focal_slope(error_N, missed_N, wanted.gamma)
            slope_N.addcmul_(self._signed(weights_RK[FOCAL]), focal_N)
        torch.mul(slope_N, missed_N, out=room_2N[1])
        torch.neg(room_2N[1], out=room_2N[0])
        return room_2N

    def _signed(self, value_2: Tensor) -> Tensor:
        """The value of each pixel's true class, 0 where ignored; negative for class 1, whose margin
        falls as its own logit rises."""
        return torch.mv(self.mask_2N.t(), value_2 * value_2.new_tensor([1.0, -1.0]))


def missed(error_N: Tensor) -> Tensor:
    """1 - p without cancellation; the floor keeps a power's slope finite where gamma < 1."""
    return (-torch.expm1(-error_N)).clamp_min_(torch.finfo(error_N.dtype).tiny)


def focal_slope(error_N: Tensor, missed_N: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma e, differentiated by e, where p = exp(-e)."""
    missed_N = missed_N.clamp_min(torch.finfo(missed_N.dtype).tiny)
    return (1 - missed_N).mul_(error_N).mul_(gamma).add_(missed_N).mul_(missed_N.pow(gamma - 1))
