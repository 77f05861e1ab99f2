"""A convolution of an interpolated map, computed where the map is still small.

Interpolating and convolving are both linear, so that their order may change: each tap of the kernel
is a 1x1 convolution of the small map, a quarter of the products at twice the size, and what it
gives is interpolated, shifted by the tap's place and added. Interpolation, shift and sum are one
matrix for rows and one for columns, narrow bands, which are multiplied block by block. The enlarged
map with all its channels is never made, nor kept for the gradient.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import _disable_current_modes

from segkit.api import hooked
from segkit_upsamplers.geometry import Size, is_channels_last

# With fewer, moving what the taps give costs more than their products save.
LEAST_CHANNELS = 128
# Rows in a block of a band: more would multiply more zeros, fewer make more calls.
BLOCK = 16


def pays(convolution: nn.Module, x_BCHW: Tensor, size: Size) -> bool:
    """Whether `convolve_enlarged` takes these, and is measured to be quicker: on a CPU."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return False
    return is_broad(convolution) and is_coarse(x_BCHW, size)


def is_broad(convolution: nn.Module) -> bool:
    """Whether a plain convolution has channels enough."""
    # A subclass may compute otherwise, and a hook wants to see the enlarged map.
    if type(convolution) is not nn.Conv2d or hooked(convolution):
        return False
    return convolution.in_channels >= LEAST_CHANNELS and convolution.kernel_size[0] > 1


def is_coarse(x_BCHW: Tensor, size: Size) -> bool:
    """Whether a map lies as it must, and is to be made twice as large at least."""
    doubled = all(large >= 2 * small for large, small in zip(size, x_BCHW.shape[2:], strict=True))
    return doubled and x_BCHW.device.type == "cpu" and is_channels_last(x_BCHW)


def convolve_enlarged(x_BChw: Tensor, convolution: nn.Conv2d, size: Size, mode: str) -> Tensor:
    """convolution(F.interpolate(x, size, mode)), up to rounding: (B, out_channels, *size).

    convolution   k x k, k odd, that keeps height and width, padded with zeros
    mode          one that treats rows and columns apart, without align_corners
    """
    each_BMhw = F.conv2d(x_BChw, taps_of(convolution.weight))
    return add_up_taps(each_BMhw, convolution.bias, size, convolution.kernel_size[0], mode)


def taps_of(weight_OCkk: Tensor) -> Tensor:
    """A kernel's taps as so many 1x1 convolutions, (dy, dx, out) in this order: a tap's channels
    lie side by side."""
    taps = weight_OCkk.shape[2] * weight_OCkk.shape[3]
    return weight_OCkk.permute(2, 3, 0, 1).reshape(taps * weight_OCkk.shape[0], -1, 1, 1)


def add_up_taps(
    each_BMhw: Tensor, bias_O: Tensor | None, size: Size, kernel: int, mode: str
) -> Tensor:
    """What the taps give interpolated, shifted and added up, with the bias: (B, O, *size)."""
    plan = _Plan(tuple(each_BMhw.shape[2:]), size, kernel, mode)
    y_RWC: Tensor = _Mix.apply(each_BMhw.permute(0, 2, 3, 1), plan, False)
    if bias_O is not None:
        y_RWC.add_(bias_O.to(y_RWC.dtype))
    return y_RWC.view(len(each_BMhw), *size, -1).permute(0, 3, 1, 2)


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
    rows, columns = _both_bands(plan, each_BhwM.dtype, adjoint=False)
    (images, h, w, _), (height, width), kernel = each_BhwM.shape, plan.large, plan.kernel
    # Rows (h, dy), and in them (w, dx, C).
    tall_BhN = each_BhwM.reshape(images, h, w, kernel, -1).transpose(2, 3)
    wide_BHN = _multiply(rows, height, tall_BhN.reshape(images, h * kernel, -1))
    return _multiply(columns, width, wide_BHN.view(images * height, w * kernel, -1))


def _gather(gradient_RWC: Tensor, plan: _Plan) -> Tensor:
    rows, columns = _both_bands(plan, gradient_RWC.dtype, adjoint=True)
    (h, w), height, kernel = plan.small, plan.large[0], plan.kernel
    images = len(gradient_RWC) // height
    wide_RwC = _multiply(columns, w * kernel, gradient_RWC)
    tall_BhN = _multiply(rows, h * kernel, wide_RwC.view(images, height, -1))
    return tall_BhN.view(images, h, kernel, w, -1).transpose(2, 3).reshape(images, h, w, -1)


class _Block(NamedTuple):
    """result[first:last] = matrix @ given[start:end]; what lies beside is zero."""

    first: int
    last: int
    start: int
    end: int
    matrix: Tensor


def _multiply(band: tuple[_Block, ...], length: int, x_NnC: Tensor) -> Tensor:
    """The banded matrix times each x_nC: (N, length, C)."""
    y_NmC = x_NnC.new_empty(x_NnC.shape[0], length, x_NnC.shape[2])
    for first, last, start, end, matrix in band:
        each = matrix.expand(x_NnC.shape[0], *matrix.shape)
        torch.bmm(each, x_NnC[:, start:end], out=y_NmC[:, first:last])
    return y_NmC


def _both_bands(
    plan: _Plan, dtype: torch.dtype, *, adjoint: bool
) -> tuple[tuple[_Block, ...], tuple[_Block, ...]]:
    ends = zip(plan.small, plan.large, strict=True)
    rows, columns = (_band(*end, plan.kernel, plan.mode, dtype, adjoint) for end in ends)
    return rows, columns


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
