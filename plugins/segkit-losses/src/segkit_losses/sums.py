"""The sums that pixel and overlap losses are made of, as operators that read the logits once.

Per class, over the valid pixels, p the softmax probability and k* a pixel's true class:

    OVERLAP    sum of p_k over the pixels of class k
    PREDICTED  sum of p_k
    SQUARED    sum of p_k^2
    PIXELS     number of pixels of class k
    ENTROPY    sum of -log p_k over the pixels of class k
    FOCAL      sum of (1 - p_k)^gamma * -log p_k over the pixels of class k

Any loss of these sums has its gradient in one more pass: the slopes in the sums come from autograd,
and `class_sums_backward` carries them to the logits, recomputing the softmax. Nothing but the
logits and the target is kept between the two.

Sums are float64. The operators are registered with torch: torch.compile keeps them in its graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from segkit_losses.enlarging import Enlargement, MatrixTiles, RepeatingTiles, enlarged_tiles
from segkit_losses.host import WholeTiles, add_up, descend
from segkit_losses.tiles import ROWS, Wanted


def class_sums(
    logits_BKHW: Tensor,
    target_BHW: Tensor,
    wanted: Wanted,
    ignore_index: int | None,
    enlargement: Enlargement | None = None,
) -> tuple[Tensor, Tensor]:
    """(sums_RK, number of stray labels); differentiable in the logits.

    enlargement   what is done to the logits before they are cut to the target's size; on the CPU
    """
    size, align_corners = enlargement or ((), False)
    settings = (*wanted, ignore_index, list(size), align_corners)
    sums_RK, stray = _class_sums(logits_BKHW, target_BHW, *settings)
    return sums_RK, stray


@torch.library.custom_op("segkit_losses::class_sums", mutates_args=())
def _class_sums(
    logits: Tensor,
    target: Tensor,
    overlap: bool,
    squared: bool,
    entropy: bool,
    gamma: float | None,
    ignore_index: int | None,
    size: Sequence[int],
    align_corners: bool,
) -> tuple[Tensor, Tensor]:
    wanted = Wanted(overlap, squared, entropy, gamma)
    if logits.device.type == "cuda":
        from segkit_losses.kernels import add_up_on_device

        return add_up_on_device(logits, target, wanted, ignore_index)
    return add_up(_tiles(logits, target, ignore_index, size, align_corners, slopes=False), wanted)


@torch.library.custom_op("segkit_losses::class_sums_backward", mutates_args=())
def _class_sums_backward(
    weights: Tensor,
    logits: Tensor,
    target: Tensor,
    overlap: bool,
    squared: bool,
    entropy: bool,
    gamma: float | None,
    ignore_index: int | None,
    size: Sequence[int],
    align_corners: bool,
) -> Tensor:
    wanted = Wanted(overlap, squared, entropy, gamma)
    if logits.device.type == "cuda":
        from segkit_losses.kernels import descend_on_device

        return descend_on_device(weights, logits, target, wanted, ignore_index)
    tiles = _tiles(logits, target, ignore_index, size, align_corners, slopes=True)
    descend(tiles, wanted, weights)
    assert tiles.slopes_BKHW is not None
    return tiles.slopes_BKHW


@_class_sums.register_fake
def _(logits: Tensor, target: Tensor, *settings: Any) -> tuple[Tensor, Tensor]:
    sums = logits.new_empty((ROWS, logits.shape[1]), dtype=torch.float64)
    return sums, logits.new_empty((), dtype=torch.int64)


@_class_sums_backward.register_fake
def _(weights: Tensor, logits: Tensor, *settings: Any) -> Tensor:
    return torch.empty_like(logits)


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    logits, target, *settings = inputs
    ctx.save_for_backward(logits, target)
    ctx.settings = settings


def _backward(ctx: Any, weights: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    logits, target = ctx.saved_tensors
    nothing = (None,) * (1 + len(ctx.settings))
    if torch.is_grad_enabled() and weights.requires_grad:
        # A gradient that is to have a gradient itself: rare, and left to autograd.
        *wanted, ignore_index, size, align_corners = ctx.settings
        enlargement = Enlargement((size[0], size[1]), align_corners) if size else None
        sums = plain_sums(logits, target, Wanted(*wanted), ignore_index, enlargement)
        (slopes,) = torch.autograd.grad(sums, logits, weights, create_graph=True)
        return slopes, *nothing
    return _class_sums_backward(weights, logits, target, *ctx.settings), *nothing


_class_sums.register_autograd(_backward, setup_context=_keep_inputs)


def plain_sums(
    logits_BKHW: Tensor,
    target_BHW: Tensor,
    wanted: Wanted,
    ignore_index: int | None,
    enlargement: Enlargement | None = None,
) -> Tensor:
    """The same sums written plainly: for gradients of gradients, and to compare with."""
    logits_BKHW = logits_BKHW.double()
    if enlargement:
        size, corners = enlargement
        logits_BKHW = F.interpolate(logits_BKHW, size, mode="bilinear", align_corners=corners)
        height, width = target_BHW.shape[1:]
        logits_BKHW = logits_BKHW[..., :height, :width]
    classes = logits_BKHW.shape[1]
    target_BHW = target_BHW.long()
    valid_BHW = torch.ones_like(target_BHW, dtype=torch.bool)
    if ignore_index is not None:
        valid_BHW = target_BHW != ignore_index
    logits_BKHW = torch.where(valid_BHW[:, None], logits_BKHW, 0)
    truth_BHW = torch.where(valid_BHW, target_BHW, 0)
    truth_BKHW = F.one_hot(truth_BHW, classes).movedim(-1, 1) * valid_BHW[:, None]
    log_BKHW = logits_BKHW.log_softmax(dim=1)
    probability_BKHW = torch.where(valid_BHW[:, None], log_BKHW.exp(), 0)
    missed_BKHW = (-torch.expm1(log_BKHW)).clamp_min(torch.finfo(torch.float64).tiny)
    nothing_BKHW = torch.zeros_like(log_BKHW)
    summands = (
        truth_BKHW * probability_BKHW if wanted.overlap else nothing_BKHW,
        probability_BKHW if wanted.overlap else nothing_BKHW,
        probability_BKHW.square() if wanted.overlap and wanted.squared else nothing_BKHW,
        truth_BKHW.double(),
        -truth_BKHW * log_BKHW if wanted.entropy else nothing_BKHW,
        nothing_BKHW
        if wanted.gamma is None
        else -truth_BKHW * log_BKHW * missed_BKHW.pow(wanted.gamma),
    )
    return torch.stack([each_BKHW.sum((0, 2, 3)) for each_BKHW in summands])


def _tiles(
    logits: Tensor,
    target: Tensor,
    ignore_index: int | None,
    size: Sequence[int],
    align_corners: bool,
    *,
    slopes: bool,
) -> WholeTiles | RepeatingTiles | MatrixTiles:
    if size:
        enlargement = Enlargement((size[0], size[1]), align_corners)
        return enlarged_tiles(logits, target, enlargement, ignore_index, slopes=slopes)
    return WholeTiles(logits, target, ignore_index, slopes=slopes)
