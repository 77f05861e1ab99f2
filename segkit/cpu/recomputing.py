"""Norm, ReLU and convolution as one step that keeps nothing but its input for the gradient.

Plain autograd keeps what each of the three was given. Here the normalised map is computed a second
time in the backward pass, from the batch statistics of the first (after Pleiss et al. 2017,
arXiv:1707.06990): two cheap passes over it, no convolution, and no statistic counted twice.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from segkit.cpu.convolutions import hooked


class BatchStatistics(NamedTuple):
    """Of each channel of a map over batch and pixels, float32; no gradient flows through them.

    values   how many there were of each channel

    Their part in the gradient is that of batch normalisation, which the norms account for.
    """

    mean_C: Tensor
    inverse_deviation_C: Tensor
    unbiased_variance_C: Tensor
    values: int


def batch_statistics(x_BCHW: Tensor, norm: nn.BatchNorm2d) -> BatchStatistics:
    """As the norm would find them: by the same kernel."""
    with torch.no_grad():
        channels, exact = x_BCHW.shape[1], torch.promote_types(x_BCHW.dtype, torch.float32)
        # Replaced altogether, and zeros all the same: 0 times what was there could be no number.
        mean_C, variance_C = x_BCHW.new_zeros((2, channels), dtype=exact)
        _, _, inverse_C = torch.native_batch_norm(
            x_BCHW, None, None, mean_C, variance_C, True, 1.0, norm.eps
        )
    return BatchStatistics(mean_C, inverse_C, variance_C, x_BCHW.numel() // channels)


def recomputes(norm: nn.Module, convolution: nn.Module, x_BCHW: Tensor) -> bool:
    """Whether `norm_relu_convolution` may take these: a training of the plain modules, unhooked."""
    if not torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return False
    # Subclasses compute otherwise: synchronised over processes, or of another author.
    if type(norm) is not nn.BatchNorm2d or type(convolution) is not nn.Conv2d:
        return False
    if not (norm.training and norm.affine and norm.track_running_stats) or norm.momentum is None:
        return False
    if convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
        return False
    if any(hooked(module) for module in (norm, convolution)):
        return False
    return x_BCHW.is_floating_point() and x_BCHW.numel() > x_BCHW.shape[1]


def norm_relu_convolution(
    maps: Sequence[Tensor],
    norm: nn.BatchNorm2d,
    convolution: nn.Conv2d,
    statistics: Sequence[BatchStatistics] | None = None,
) -> Tensor:
    """convolution(relu(norm(maps, concatenated))), keeping the maps alone for the gradient.

    statistics   of the maps, where they are known already: their running averages follow as usual

    Only where `recomputes` says so. The gradient can be taken once, not twice.
    """
    if statistics is None:
        statistics = [batch_statistics(each, norm) for each in maps]
    mean_C = torch.cat([each.mean_C for each in statistics])
    inverse_C = torch.cat([each.inverse_deviation_C for each in statistics])
    variance_C = torch.cat([each.unbiased_variance_C for each in statistics])
    _follow(norm, mean_C, variance_C)
    share = (statistics[0].values - 1) / statistics[0].values
    settings = _Settings(
        norm.eps, convolution.stride, convolution.padding, convolution.dilation, convolution.groups
    )
    result: Tensor = _NormReluConvolution.apply(
        settings,
        (mean_C, inverse_C, variance_C * share),
        norm.weight,
        norm.bias,
        convolution.weight,
        convolution.bias,
        *maps,
    )
    return result


class _Settings(NamedTuple):
    eps: float
    stride: Any
    padding: Any
    dilation: Any
    groups: int


class _NormReluConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        settings: _Settings,
        statistics: tuple[Tensor, Tensor, Tensor],
        scale_C: Tensor,
        shift_C: Tensor,
        weight_OIHW: Tensor,
        bias_O: Tensor | None,
        *maps: Tensor,
    ) -> Tensor:
        # Counted without numbers, a step is on the meta device, which has no autocast of its own.
        kind = maps[0].device.type.replace("meta", "cpu")
        computed = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        ctx.settings, ctx.statistics, ctx.computed = settings, statistics, computed
        ctx.save_for_backward(scale_C, shift_C, weight_OIHW, bias_O, *maps)
        with torch.autocast(kind, enabled=False):
            _, active_BCHW = _activated(settings, statistics, scale_C, shift_C, maps)
            active_BCHW, weight_OIHW, bias_O = _cast(computed, active_BCHW, weight_OIHW, bias_O)
            return torch.conv2d(active_BCHW, weight_OIHW, bias_O, *settings[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BOHW: Tensor) -> tuple[Tensor | None, ...]:
        scale_C, shift_C, weight_OIHW, bias_O, *maps = ctx.saved_tensors
        settings, (mean_C, inverse_C, _) = ctx.settings, ctx.statistics
        x_BCHW, active_BCHW = _activated(settings, ctx.statistics, scale_C, shift_C, maps)
        used_BCHW, used_OIHW, _ = _cast(ctx.computed, active_BCHW, weight_OIHW, None)
        needs = ctx.needs_input_grad
        deeper = any(needs[6:]) or needs[2] or needs[3]
        # Positional: dilation comes before "transposed" and its output padding.
        found_BCHW, found_OIHW, found_O = torch.ops.aten.convolution_backward(
            gradient_BOHW,
            used_BCHW,
            used_OIHW,
            None if bias_O is None else list(bias_O.shape),
            settings.stride,
            settings.padding,
            settings.dilation,
            False,
            [0, 0],
            settings.groups,
            [deeper, needs[4], bias_O is not None and needs[5]],
        )
        of_weight = found_OIHW.to(weight_OIHW.dtype) if needs[4] else None
        of_bias = found_O.to(bias_O.dtype) if bias_O is not None and needs[5] else None
        if not deeper:
            return (None, None, None, None, of_weight, of_bias, *[None] * len(maps))
        found_BCHW = torch.ops.aten.threshold_backward(
            found_BCHW.to(active_BCHW.dtype), active_BCHW, 0
        )
        of_x, of_scale, of_shift = torch.ops.aten.native_batch_norm_backward(
            found_BCHW,
            x_BCHW,
            scale_C,
            None,
            None,
            mean_C,
            inverse_C,
            True,
            settings.eps,
            [True, True, True],
        )
        parts = [of_x] if len(maps) == 1 else of_x.split([each.shape[1] for each in maps], dim=1)
        return (None, None, of_scale, of_shift, of_weight, of_bias, *parts)


def _activated(
    settings: _Settings,
    statistics: tuple[Tensor, Tensor, Tensor],
    scale_C: Tensor,
    shift_C: Tensor,
    maps: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """The maps concatenated, and that normalised and rectified: both for use at once."""
    x_BCHW = maps[0]
    if len(maps) > 1:
        shape = (x_BCHW.shape[0], sum(each.shape[1] for each in maps), *x_BCHW.shape[2:])
        room_BCHW = _scratch.room("maps", shape, x_BCHW)
        x_BCHW = torch.cat(list(maps), dim=1, out=room_BCHW)
    mean_C, _, variance_C = statistics
    given = (x_BCHW, scale_C, shift_C, mean_C, variance_C, False, 0.0, settings.eps)
    room_BCHW = _scratch.room("active", tuple(x_BCHW.shape), x_BCHW)
    if room_BCHW is None:
        return x_BCHW, torch.native_batch_norm(*given)[0].relu_()
    nothing = (mean_C.new_empty(0), mean_C.new_empty(0))
    return x_BCHW, torch.native_batch_norm(*given, out=(room_BCHW, *nothing))[0].relu_()


class _Scratch(threading.local):
    """Memory of a CPU for maps that are gone before the next layer's.

    New memory for each, a little larger than the last in a dense block, would be found behind the
    results that are kept, and leave holes between them that nothing fits.
    """

    def __init__(self) -> None:
        self.held: dict[tuple[str, torch.dtype], Tensor] = {}
        self.counted = False

    def room(self, use: str, shape: tuple[int, ...], like_BCHW: Tensor) -> Tensor | None:
        """A map without contents, laid out as another; None where memory is no concern of ours."""
        plain = like_BCHW.device.type == "cpu" and type(like_BCHW) in (Tensor, nn.Parameter)
        if not (plain or self.counted):
            return None
        count, key = math.prod(shape), (use, like_BCHW.dtype)
        if key not in self.held or self.held[key].numel() < count:
            self.held.pop(key, None)
            self.held[key] = torch.empty(count, dtype=like_BCHW.dtype, device=like_BCHW.device)
        flat = self.held[key][:count]
        if like_BCHW.is_contiguous():
            return flat.view(shape)
        batch, channels, height, width = shape
        return flat.view(batch, height, width, channels).permute(0, 3, 1, 2)


_scratch = _Scratch()


@contextmanager
def scratch_of_a_cpu() -> Iterator[dict[tuple[str, torch.dtype], Tensor]]:
    """Within it, tensors without numbers share memory as those of a CPU do: their step is counted
    for one. Gives what they share, which is forgotten afterwards; what others share stays."""
    before = _scratch.held, _scratch.counted
    _scratch.held, _scratch.counted = {}, True
    try:
        yield _scratch.held
    finally:
        _scratch.held, _scratch.counted = before


def _cast(
    computed: torch.dtype | None, x_BCHW: Tensor, weight_OIHW: Tensor, bias_O: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    if computed is None:
        return x_BCHW, weight_OIHW, bias_O
    bias_O = None if bias_O is None else bias_O.to(computed)
    return x_BCHW.to(computed), weight_OIHW.to(computed), bias_O


@torch.no_grad()
def _follow(norm: nn.BatchNorm2d, mean_C: Tensor, variance_C: Tensor) -> None:
    """The norm's running averages, as its own forward pass would move them."""
    running = (norm.running_mean, norm.running_var)
    for average_C, now_C in zip(running, (mean_C, variance_C), strict=True):
        if average_C is not None and norm.momentum is not None:
            average_C.lerp_(now_C.to(average_C.dtype), norm.momentum)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
