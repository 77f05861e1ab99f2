"""What every one-pass computation of the losses walks over: tiles of pixels that stay in the cache.

A tile is one (K, N) matrix of logits, N pixels in any order, with a label a pixel. Its arithmetic
is float32, or float64 for float64 logits. `measure` adds the tile's share to the sums of
`segkit_losses.sums`; `slope` is the gradient of a weighted sum of these sums in the tile's logits.

Pixels whose label is ignored change neither, whatever their logits hold, NaN and infinity included.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from segkit_losses.truth import Truth

# exp2 is 2.6 times as fast as exp in torch's CPU kernels (0.32 and 0.83 ns an element measured).
LOG2_E = math.log2(math.e)

# The rows of the sums, one number a class each; see segkit_losses.sums.
OVERLAP, PREDICTED, SQUARED, PIXELS, ENTROPY, FOCAL = range(6)
ROWS = 6


class Wanted(NamedTuple):
    """Which sums are asked for; the others stay 0.

    overlap   OVERLAP and PREDICTED
    squared   SQUARED
    entropy   ENTROPY
    gamma     FOCAL with this exponent; None: not asked for
    """

    overlap: bool
    squared: bool
    entropy: bool
    gamma: float | None


class Exponentials(NamedTuple):
    """A tile after its one exponential.

    raised_KN   exp(logit - the pixel's largest)
    total_N     its sum over the classes
    depth_N     the largest logit less the true class's
    """

    raised_KN: Tensor
    total_N: Tensor
    depth_N: Tensor


def exponentials(logits_KN: Tensor, truth: Truth) -> Exponentials:
    """The logits are overwritten."""
    logits_KN.sub_(torch.amax(logits_KN, dim=0))
    depth_N = truth.at(logits_KN).neg_()
    raised_KN = logits_KN.mul_(LOG2_E).exp2_()
    total_N = raised_KN.sum(dim=0)
    if truth.valid_N is not None and not math.isfinite(float(total_N.sum() + depth_N.sum())):
        ignored_N = truth.valid_N == 0
        raised_KN.masked_fill_(ignored_N, 0)
        total_N.masked_fill_(ignored_N, 1)
        depth_N.masked_fill_(ignored_N, 0)
    return Exponentials(raised_KN, total_N, depth_N)


def measure(logits_KN: Tensor, truth: Truth, wanted: Wanted, sums_RK: Tensor) -> None:
    """Adds the tile to the float64 sums; the logits are overwritten."""
    raised_KN, total_N, depth_N = exponentials(logits_KN, truth)
    sums_RK[PIXELS] += truth.sums()
    if wanted.entropy or wanted.gamma is not None:
        error_N = depth_N + total_N.log()
        if wanted.entropy:
            sums_RK[ENTROPY] += truth.sums(error_N)
        if wanted.gamma is not None:
            missed_N = _missed(error_N).pow_(wanted.gamma).mul_(error_N)
            sums_RK[FOCAL] += truth.sums(missed_N)
    if wanted.overlap:
        share_N = _reciprocal(total_N, truth)
        true_N = (depth_N * -LOG2_E).exp2_().mul_(share_N)
        sums_RK[OVERLAP] += truth.sums(true_N)
        sums_RK[PREDICTED] += torch.mv(raised_KN, share_N)
        if wanted.squared:
            sums_RK[SQUARED] += raised_KN.mul_(share_N).square_().sum(dim=1)


def slope(
    logits_KN: Tensor, truth: Truth, wanted: Wanted, weights_RK: Tensor, room_KN: Tensor
) -> Tensor:
    """The gradient of (weights_RK * sums_RK).sum() in the tile's logits, (K, N).

    With g the slope in each probability, that in logit k is p_k (g_k - sum_j p_j g_j). The logits
    and room_KN are overwritten; the gradient is in one of the two.
    """
    tile = exponentials(logits_KN, truth)
    raised_KN, total_N, depth_N = tile
    share_N = _reciprocal(total_N, truth)
    pull_N = _pixel_slope(tile, truth, wanted, weights_RK)
    if truth.valid_N is not None:
        pull_N.mul_(truth.valid_N)
    if not wanted.overlap:
        raised_KN.mul_(pull_N * share_N)
        truth.add(raised_KN, pull_N.neg_())
        return raised_KN
    at_truth_N = (depth_N * -LOG2_E).exp2_().mul_(share_N).mul_(truth.each(weights_RK[OVERLAP]))
    mean_N = torch.mv(raised_KN.t(), weights_RK[PREDICTED]).mul_(share_N).add_(at_truth_N)
    if wanted.squared:
        probability_KN = raised_KN.mul_(share_N)
        torch.mul(probability_KN, 2 * weights_RK[SQUARED][:, None], out=room_KN)
        mean_N += torch.linalg.vecdot(probability_KN, room_KN, dim=0)
        room_KN.add_(weights_RK[PREDICTED][:, None]).add_(pull_N - mean_N)
    else:
        lift_N = (pull_N - mean_N).mul_(share_N)
        torch.addr(lift_N, weights_RK[PREDICTED], share_N, out=room_KN)
    gradient_KN = room_KN.mul_(raised_KN)
    truth.add(gradient_KN, at_truth_N.sub_(pull_N))
    return gradient_KN


def _pixel_slope(tile: Exponentials, truth: Truth, wanted: Wanted, weights_RK: Tensor) -> Tensor:
    """The slope in a pixel's -log p(true class)."""
    slope_N = torch.zeros_like(tile.total_N)
    if wanted.entropy:
        slope_N += truth.each(weights_RK[ENTROPY])
    if wanted.gamma is not None and wanted.gamma == 0:
        slope_N += truth.each(weights_RK[FOCAL])
    elif wanted.gamma is not None:
        error_N = tile.depth_N + tile.total_N.log()
        missed_N = _missed(error_N)
        steep_N = missed_N.pow(wanted.gamma - 1).mul_(wanted.gamma).mul_(error_N)
        steep_N.mul_(error_N.neg().exp_()).add_(missed_N.pow(wanted.gamma))
        slope_N += truth.each(weights_RK[FOCAL]).mul_(steep_N)
    return slope_N


def _missed(error_N: Tensor) -> Tensor:
    """1 - p without cancellation; the floor keeps a power's slope finite where gamma < 1."""
    return (-torch.expm1(-error_N)).clamp_min_(torch.finfo(error_N.dtype).tiny)


def _reciprocal(total_N: Tensor, truth: Truth) -> Tensor:
    share_N = total_N.reciprocal()
    return share_N if truth.valid_N is None else share_N.mul_(truth.valid_N)
