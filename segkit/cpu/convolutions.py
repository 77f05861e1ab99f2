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


class DoubledConvolution(nn.Module):
    """relu(norm(conv(cat([x doubled by nearest neighbour, skip])))), with x never doubled.

    Four neighbours of the doubled map hold one value: its 3x3 taps, added up where they meet the
    same one, are a transposed convolution of 4x4 taps with stride 2, four products in place of
    nine. The skip is convolved by itself and added.

    convolution   3x3, stride 1, padding 1, of x's channels and then the skip's
    channels      of x
    dtype         that of weights and results; what is given is converted to it
    """

    taps_IOHW: Tensor
    shift_O: Tensor | None
    kernel_OIHW: Tensor | None

    @classmethod
    def of(
        cls, layers: nn.Sequential, *, channels: int, dtype: torch.dtype
    ) -> DoubledConvolution | None:
        """That of a convolution, its norm or identity, and a ReLU; None where they are no such."""
        if len(layers) != 3 or type(layers).forward is not nn.Sequential.forward:
            return None
        convolution, norm, relu = layers
        behind = norm if foldable(norm) else None
        if not rewritable(convolution) or not (behind or type(norm) is nn.Identity):
            return None
        if type(relu) is not nn.ReLU or any(hooked(each) for each in (layers, norm, relu)):
            return None
        shape = (convolution.kernel_size, convolution.stride, convolution.padding)
        if shape != ((3, 3), (1, 1), (1, 1)) or convolution.dilation != (1, 1):
            return None
        if convolution.groups != 1 or convolution.in_channels < channels:
            return None
        return cls(convolution, dtype, behind, channels=channels)

    def __init__(
        self,
        convolution: nn.Conv2d,
        dtype: torch.dtype,
        norm: nn.BatchNorm2d | None = None,
        *,
        channels: int,
    ) -> None:
        super().__init__()
        weight_OIHW, bias_O = convolution.weight.detach(), convolution.bias
        if norm is not None:
            weight_OIHW, bias_O = folded(weight_OIHW, bias_O, norm)
        self.dtype = dtype
        taps_IOHW = doubled_taps(weight_OIHW[:, :channels]).transpose(0, 1)
        self.register_buffer("taps_IOHW", channels_last(taps_IOHW, dtype))
        self.register_buffer("shift_O", None if bias_O is None else bias_O.detach().float())
        rest = channels_last(weight_OIHW[:, channels:], dtype)
        self.register_buffer("kernel_OIHW", rest if rest.numel() else None)

    def forward(self, x_BCHW: Tensor, skip_BCHW: Tensor | None = None) -> Tensor:
        if skip_BCHW is None or self.kernel_OIHW is None:
            return self._doubled(x_BCHW, "relu")
        ones = [1, 1]
        added: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
            self._doubled(x_BCHW, "none"),
            skip_BCHW.to(self.dtype),
            self.kernel_OIHW,
            None,
            ones,
            ones,
            ones,
            1,
            "add",
            1.0,
            "relu",
            [],
            "",
        )
        return added

    def _doubled(self, x_BCHW: Tensor, behind: str) -> Tensor:
        """x's part of the convolution, of twice the height and width."""
        ones = [1, 1]
        result: Tensor = torch.ops.mkldnn._convolution_transpose_pointwise(
            x_BCHW.to(self.dtype),
            self.taps_IOHW,
            self.shift_O,
            ones,
            [0, 0],
            [2, 2],
            ones,
            1,
            behind,
            [],
            "",
        )
        return result


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


def doubled_taps(weight_OI33: Tensor) -> Tensor:
    """The 4x4 taps, (O, I, 4, 4), of the transposed convolution with stride 2 and padding 1 that
    does what the 3x3 taps with padding 1 do after doubling by nearest neighbour."""
    out, channels = weight_OI33.shape[:2]
    taps_OI44 = weight_OI33.new_zeros((out, channels, 4, 4), dtype=torch.float64)
    # Flipped, as a transposed convolution counts its taps; each of 2x2 copies of a value adds its.
    flipped_OI33 = weight_OI33.double().flip(-2, -1)
    for row in range(2):
        for column in range(2):
            taps_OI44[..., row : row + 3, column : column + 3] += flipped_OI33
    return taps_OI44.to(weight_OI33.dtype)


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


def foldable(norm: nn.Module | None) -> TypeGuard[nn.BatchNorm2d]:
    """Whether a module is, while not in training, a plain, unhooked batch norm."""
    if not isinstance(norm, nn.BatchNorm2d) or norm.training or hooked(norm):
        return False
    if norm.running_mean is None or norm.running_var is None:
        return False
    if type(norm) is nn.BatchNorm2d:
        return True
    # A subclass may be one for all that concerns evaluation, or not, as one with a ReLU in it.
    x_BCHW = torch.randn((2, norm.num_features, 2, 3), generator=torch.Generator().manual_seed(0))
    return torch.equal(norm(x_BCHW), nn.BatchNorm2d.forward(norm, x_BCHW))


def hooked(module: Any) -> bool:
    """Whether anyone listens to a module's calls, or changes what it is given or gives."""
    hooks = (module._forward_hooks, module._forward_pre_hooks)
    return any(hooks) or any((module._backward_hooks, module._backward_pre_hooks))


def _wide(tensor: Any) -> Tensor:
    wide: Tensor = tensor.detach().double()
    return wide
