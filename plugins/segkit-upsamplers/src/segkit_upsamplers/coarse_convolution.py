"""A convolution of an interpolated map, computed where the map is still small.

Interpolating and convolving are both linear, so their order may change: each tap of the kernel is a
1x1 convolution of the small map, at scale 2 a quarter of the products, and what the taps give is
interpolated, shifted by the tap's place and added up. Along rows and along columns these three are
one banded matrix each, multiplied block by block. The enlarged map with all its channels is never
made, nor kept for the gradient.

Measured by `segkit bench coarse-convolution`: the wide U-Net in float32 on a CPU.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import _disable_current_modes

from segkit_upsamplers.geometry import Size, is_channels_last

# With fewer, moving what the taps give costs more than their products save.
LEAST_CHANNELS = 128
# Rows in a block of a band: more would multiply more zeros, fewer make more calls.
BLOCK = 16


def pays(convolution: nn.Module, x_BCHW: Tensor, size: Size) -> bool:
    """Whether `convolve_enlarged` takes these and is quicker: many channels in float32 on a CPU."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return False
    # A subclass may compute otherwise, and a hook wants to see the enlarged map.
    if type(convolution) is not nn.Conv2d or _hooked(convolution):
        return False
    if convolution.in_channels < LEAST_CHANNELS or x_BCHW.device.type != "cpu":
        return False
    # In bfloat16 the matrix products of a CPU are quick enough to tie.
    if x_BCHW.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu"):
        return False
    doubled = all(large >= 2 * small for large, small in zip(size, x_BCHW.shape[2:], strict=True))
    return doubled and is_channels_last(x_BCHW)


def convolve_enlarged(x_BChw: Tensor, convolution: nn.Conv2d, size: Size, mode: str) -> Tensor:
    """convolution(F.interpolate(x, size, mode)), up to rounding: (B, out_channels, *size).

    convolution   k x k, k odd, that keeps height and width, padded with zeros
    mode          one that treats rows and columns apart, without align_corners
    """
    weight_OCkk = convolution.weight
    out, channels, kernel, _ = weight_OCkk.shape
    # (dy, dx, out) in this order, so that a tap's channels lie side by side.
    taps_MC11 = weight_OCkk.permute(2, 3, 0, 1).reshape(kernel * kernel * out, channels, 1, 1)
    each_BhwM = F.conv2d(x_BChw, taps_MC11).permute(0, 2, 3, 1)
    plan = _Plan(tuple(x_BChw.shape[2:]), size, kernel, mode)
    y_RWO: Tensor = _Mix.apply(each_BhwM, plan, False)
    if convolution.bias is not None:
        y_RWO.add_(convolution.bias)
    return y_RWO.view(len(x_BChw), *size, out).permute(0, 3, 1, 2)


def _hooked(module: nn.Module) -> bool:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, kind) for kind in kinds)


class _Plan(NamedTuple):
    small: tuple[int, ...]
    large: tuple[int, ...]
    kernel: int
    mode: str


class _Mix(torch.autograd.Function):
    """(B, h, w, dy * dx * C) to (B * H, W, C), or the adjoint of that; linear, it keeps nothing."""

    @staticmethod
    def forward(given: Tensor, plan: _Plan, adjoint: bool) -> Tensor:
        return _gather(given, plan) if adjoint else _spread(given, plan)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.plan, ctx.adjoint = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Mix.apply(gradient, ctx.plan, not ctx.adjoint), None, None


def _spread(each_BhwM: Tensor, plan: _Plan) -> Tensor:
    (images, h, w, _), height, kernel = each_BhwM.shape, plan.large[0], plan.kernel
    # Rows (h, dy), and in them (w, dx, C).
    tall_BhN = each_BhwM.reshape(images, h, w, kernel, -1).transpose(2, 3)
    wide_BHN = _multiply(plan, 0, False, tall_BhN.reshape(images, h * kernel, -1))
    return _multiply(plan, 1, False, wide_BHN.view(images * height, w * kernel, -1))


def _gather(gradient_RWC: Tensor, plan: _Plan) -> Tensor:
    (h, w), height, kernel = plan.small, plan.large[0], plan.kernel
    images = len(gradient_RWC) // height
    wide_RwC = _multiply(plan, 1, True, gradient_RWC)
    tall_BhN = _multiply(plan, 0, True, wide_RwC.view(images, height, -1))
    return tall_BhN.view(images, h, kernel, w, -1).transpose(2, 3).reshape(images, h, w, -1)


def _multiply(plan: _Plan, axis: int, adjoint: bool, x_NnC: Tensor) -> Tensor:
    """The banded matrix of an axis, or its transpose, times each x_nC: (N, rows, C)."""
    band = _band(plan.small[axis], plan.large[axis], plan.kernel, plan.mode, x_NnC.dtype, adjoint)
    y_NmC = x_NnC.new_empty(len(x_NnC), band[-1].last, x_NnC.shape[2])
    for first, last, start, end, matrix in band:
        each = matrix.expand(len(x_NnC), *matrix.shape)
        torch.bmm(each, x_NnC[:, start:end], out=y_NmC[:, first:last])
    return y_NmC


class _Block(NamedTuple):
    """result[first:last] = matrix @ given[start:end]; what lies beside is zero."""

    first: int
    last: int
    start: int
    end: int
    matrix: Tensor


@lru_cache(maxsize=64)
def _band(
    small: int, large: int, kernel: int, mode: str, dtype: torch.dtype, adjoint: bool
) -> tuple[_Block, ...]:
    """The matrix (large, small * kernel) along one axis, or its transpose, in blocks of rows."""
    # Neither inference tensors nor fake ones, whoever asks first: a training may be next.
    with torch.inference_mode(False), torch.no_grad(), _disable_current_modes():
        matrix = _along_one_axis(small, large, kernel, mode)
        matrix = (matrix.T if adjoint else matrix).to(dtype)
        return tuple(_block(matrix, first) for first in range(0, len(matrix), BLOCK))


def _block(matrix: Tensor, first: int) -> _Block:
    part = matrix[first : first + BLOCK]
    (used,) = part.any(dim=0).nonzero(as_tuple=True)
    start, end = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
    return _Block(first, first + len(part), start, end, part[:, start:end].contiguous())


def _along_one_axis(small: int, large: int, kernel: int, mode: str) -> Tensor:
    """How a row of the result is made of what the kernel's rows give: (large, small * kernel)."""
    aligned = None if mode.startswith("nearest") else False
    unit = torch.eye(small, dtype=torch.float64)[:, None, :, None]
    weights = F.interpolate(unit, (large, 1), mode=mode, align_corners=aligned)[:, 0, :, 0].T
    padded = F.pad(weights, (0, 0, kernel // 2, kernel // 2))
    shifted = [padded[tap : tap + large] for tap in range(kernel)]
    return torch.stack(shifted, dim=-1).reshape(large, small * kernel)
