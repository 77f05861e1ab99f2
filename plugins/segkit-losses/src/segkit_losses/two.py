"""The arithmetic of tiles of two classes, with one exponential a pixel in place of two.

All follows from the margin, by which the other class's logit exceeds the true one's: the other
class's probability is q = sigmoid(margin), the true one's 1 - q, and -log of that is
softplus(margin). The other class takes what the true one lacks, so its sums need no pass of their
own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from segkit_losses.tiles import (
    ENTROPY,
    FOCAL,
    OVERLAP,
    PIXELS,
    PREDICTED,
    SQUARED,
    Wanted,
)
from segkit_losses.truth import Masks

# Beyond, softplus(x) is x to the last bit of float64.
LINEAR_BEYOND = 40.0


def measure(logits_2N: Tensor, truth: Masks, wanted: Wanted, sums_R2: Tensor) -> None:
    """As segkit_losses.tiles.measure."""
    margin_N = _margins(_signs(truth), logits_2N, truth)
    pixels_2 = truth.sums()
    sums_R2[PIXELS] += pixels_2
    error_N = _errors(margin_N) if wanted.entropy or wanted.gamma is not None else None
    if wanted.entropy and error_N is not None:
        sums_R2[ENTROPY] += truth.sums(error_N)
    if not wanted.overlap and wanted.gamma is None:
        return
    wrong_N = margin_N.sigmoid_()
    if wanted.gamma is not None and error_N is not None:
        sums_R2[FOCAL] += truth.sums(wrong_N.pow(wanted.gamma).mul_(error_N))
    if wanted.overlap:
        wrong_2 = truth.sums(wrong_N)
        right_2 = pixels_2 - wrong_2
        sums_R2[OVERLAP] += right_2
        sums_R2[PREDICTED] += right_2 + wrong_2.flip(0)
        if wanted.squared:
            squared_2 = truth.sums(wrong_N.square_())
            sums_R2[SQUARED] += pixels_2 - 2 * wrong_2 + squared_2 + squared_2.flip(0)


def slope(
    logits_2N: Tensor, truth: Masks, wanted: Wanted, weights_R2: Tensor, room_2N: Tensor
) -> Tensor:
    """As segkit_losses.tiles.slope."""
    margin_N = _margins(_signs(truth), logits_2N, truth)
    wrong_N = torch.sigmoid(margin_N)
    steep_N = _slope_in_margin(wrong_N, truth, wanted, weights_R2)
    if wanted.gamma is not None:
        # Of q^gamma softplus(margin).
        focus_N = (1 - wrong_N).mul_(_errors(margin_N)).mul_(wanted.gamma).add_(wrong_N)
        focus_N.mul_(wrong_N.pow_(wanted.gamma))
        steep_N.addcmul_(focus_N, _each_with_sign(truth, weights_R2[FOCAL]))
    torch.neg(steep_N, out=room_2N[0])
    room_2N[1].copy_(steep_N)
    return room_2N


def _slope_in_margin(wrong_N: Tensor, truth: Masks, wanted: Wanted, weights_R2: Tensor) -> Tensor:
    """q (c0 + c1 q + c2 q^2), with the coefficients of each pixel's class, and its sign."""
    entropy_2, predicted_2 = weights_R2[ENTROPY], weights_R2[PREDICTED]
    if not wanted.entropy:
        entropy_2 = torch.zeros_like(entropy_2)
    if not wanted.overlap:
        return _each_with_sign(truth, entropy_2).mul_(wrong_N)
    # Of 1 - q in its own class and q in the other: q (1 - q) times this.
    overlap_2 = predicted_2.flip(0) - predicted_2 - weights_R2[OVERLAP]
    if not wanted.squared:
        steep_N = _each_with_sign(truth, overlap_2 + entropy_2)
        steep_N.addcmul_(_each_with_sign(truth, overlap_2), wrong_N, value=-1)
        return steep_N.mul_(wrong_N)
    # Of (1 - q)^2 and q^2: q (1 - q) times (own + other) q - own.
    own_2 = 2 * weights_R2[SQUARED]
    both_2 = own_2 + own_2.flip(0)
    steep_N = _each_with_sign(truth, both_2).mul_(wrong_N).neg_()
    steep_N += _each_with_sign(truth, both_2 + own_2 - overlap_2)
    steep_N.mul_(wrong_N).add_(_each_with_sign(truth, overlap_2 - own_2 + entropy_2))
    return steep_N.mul_(wrong_N)


def _each_with_sign(truth: Masks, value_2: Tensor) -> Tensor:
    """The value of each pixel's class: the slope in the second logit is that in the margin."""
    return truth.each(value_2 * value_2.new_tensor([1.0, -1.0]))


def _signs(truth: Masks) -> Tensor:
    """1 for class 0, -1 for class 1, 0 where ignored."""
    return torch.sub(*truth.mask_rows)


def _margins(sign_N: Tensor, logits_2N: Tensor, truth: Masks) -> Tensor:
    first_N, second_N = logits_2N.unbind()
    margin_N = torch.sub(second_N, first_N, out=second_N).mul_(sign_N)
    if truth.valid_N is not None and not math.isfinite(float(margin_N.sum())):
        # 0 times what is no number.
        margin_N.masked_fill_(truth.valid_N == 0, 0)
    return margin_N


def _errors(margin_N: Tensor) -> Tensor:
    return F.softplus(margin_N, threshold=LINEAR_BEYOND)
