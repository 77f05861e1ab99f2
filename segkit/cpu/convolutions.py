"""Convolutions for prediction on a CPU: norms and ReLUs within, always oneDNN's, no gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn


class Convolution(nn.Module):
    """A convolution by oneDNN, with the norm and the ReLU behind it, where there are any.

    dtype   that of weights and results; what is given is converted to it
    """

    kernel_OIHW: Tensor
    shift_O: Tensor | None

    def __init__(
        self,
        convolution: nn.Conv2d,
        dtype: torch.dtype,
        norm: nn.BatchNorm2d | None = None,
        *,
        relu: bool = False,
    ) -> None:
        super().__init__()
        weight_OIHW, bias_O = convolution.weight.detach(), convolution.bias
        if norm is not None:
            weight_OIHW, bias_O = folded(weight_OIHW, bias_O, norm)
        self.dtype, self.relu = dtype, relu
        self.register_buffer("kernel_OIHW", channels_last(weight_OIHW, dtype))
        # In float32, whatever the kernel is: oneDNN adds it before it rounds.
        self.register_buffer("shift_O", None if bias_O is None else bias_O.detach().float())
        self.stride, self.padding = list(convolution.stride), [int(p) for p in convolution.padding]
        self.dilation, self.groups = list(convolution.dilation), convolution.groups

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return pointwise(
            x_BCHW.to(self.dtype),
            self.kernel_OIHW,
            self.shift_O,
            padding=self.padding,
            stride=self.stride,
            dilation=self.dilation,
            groups=self.groups,
            relu=self.relu,
        )


def pointwise(
    x_BCHW: Tensor,
    kernel_OIHW: Tensor,
    shift_O: Tensor | None,
    *,
    padding: Sequence[int] = (0, 0),
    stride: Sequence[int] = (1, 1),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
    relu: bool,
) -> Tensor:
    """oneDNN's convolution with a bias in float32 and, where it is asked for, a ReLU behind it."""
    behind = "relu" if relu else "none"
    result: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x_BCHW, kernel_OIHW, shift_O, padding, stride, dilation, groups, behind, [], ""
    )
    return result


def folded(
    weight_OIHW: Tensor, bias_O: Tensor | None, norm: nn.BatchNorm2d
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that does what the norm in evaluation does behind it."""
    scale_O, shift_O = scale_and_shift(norm)
    if bias_O is not None:
        shift_O = shift_O + scale_O * _wide(bias_O)
    kernel_OIHW = _wide(weight_OIHW) * scale_O[:, None, None, None]
    return kernel_OIHW.to(weight_OIHW.dtype), shift_O.to(weight_OIHW.dtype)


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What the norm in evaluation multiplies each channel by, and then adds, in float64."""
    mean_C, variance_C = (_wide(each) for each in (norm.running_mean, norm.running_var))
    scale_C = (variance_C + norm.eps).rsqrt()
    if norm.weight is not None:
        scale_C = scale_C * _wide(norm.weight)
    shift_C = _wide(norm.bias) if norm.bias is not None else torch.zeros_like(mean_C)
    return scale_C, shift_C - mean_C * scale_C


def channels_last(weight_OIHW: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight in the type and the memory format that it is used in."""
    return weight_OIHW.to(dtype).contiguous(memory_format=torch.channels_last)


def rewritable(convolution: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    """Whether a module is a plain, unhooked convolution of float32 that oneDNN computes."""
    return (
        type(convolution) is nn.Conv2d
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
        and convolution.weight.dtype == torch.float32
        and not hooked(convolution)
    )


def is_batch_norm(norm: nn.Module | None) -> TypeGuard[nn.BatchNorm2d]:
    """Whether a module is an unhooked batch norm with fixed statistics, or a subclass of one."""
    return (
        isinstance(norm, nn.BatchNorm2d)
        and not norm.training
        and not hooked(norm)
        and norm.running_mean is not None
        and norm.running_var is not None
    )


def foldable(norm: nn.Module | None) -> TypeGuard[nn.BatchNorm2d]:
    """Whether a module computes just what a batch norm with fixed statistics computes."""
    if not is_batch_norm(norm):
        return False
    if type(norm) is nn.BatchNorm2d:
        return True
    # A subclass may be one for all that concerns evaluation, or not, as one with a ReLU in it.
    x_BCHW = torch.randn((2, norm.num_features, 2, 3), generator=torch.Generator().manual_seed(0))
    return torch.equal(norm(x_BCHW), nn.BatchNorm2d.forward(norm, x_BCHW))


def hooked(module: Any) -> bool:
    """Whether a module has hooks, which want to see its calls or change them."""
    hooks = (module._forward_hooks, module._forward_pre_hooks)
    return any(hooks) or any((module._backward_hooks, module._backward_pre_hooks))


def _wide(tensor: Any) -> Tensor:
    wide: Tensor = tensor.detach().double()
    return wide
