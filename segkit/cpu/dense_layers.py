"""DenseNet's layers for prediction on a CPU: no concatenation, and norm and ReLU in one pass.

The form is torchvision's, which timm, segmentation-models-pytorch and segkit-densenet share: a
block holds nothing but layers, and each layer has norm1, conv1, norm2 and conv2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from segkit.cpu.calls import Call, Calls
from segkit.cpu.convolutions import (
    Convolution,
    channels_last,
    hooked,
    is_batch_norm,
    pointwise,
    rewritable,
    scale_and_shift,
)

# A channel whose scale is below is taken for a constant: its bound would have no finite value.
NO_SCALE = 1e-20


# Norm, 1x1, norm, a convolution that keeps height and width; a ReLU behind each norm.
Layer: TypeAlias = Sequence[nn.Module]
PARTS = ("norm1", "conv1", "norm2", "conv2")


def dense_block(module: nn.Module, call: Call, dtype: torch.dtype) -> nn.Module | None:
    """What takes the place of such a block; None for any other module.

    call   an example of its calls
    """
    layers = [dict(each.named_children()) for each in module.children()]
    if len(call.args) != 1 or not all(each.keys() >= set(PARTS) for each in layers):
        return None
    return DenseLayers.of([[each[part] for part in PARTS] for each in layers], dtype)


def mean_first(module: nn.Module, calls: Calls) -> bool:
    """Moves a transition's mean before its 1x1 convolution, where the module is a transition.

    A mean of 1x1 convolutions is the convolution of the mean, of a quarter of the pixels.
    """
    convolution, pool = (getattr(module, name, None) for name in ("conv", "pool"))
    if type(pool) is not nn.AvgPool2d or pool.padding not in (0, (0, 0)) or hooked(pool):
        return False
    if not rewritable(convolution) or not _is_pointwise(convolution):
        return False
    if calls.fed_by.get(pool) is not convolution or calls.counts[convolution] != 1:
        return False
    module.conv, module.pool = nn.Sequential(pool, convolution), nn.Identity()
    return True


class DenseLayers(nn.Module):
    """A dense block: x and every layer's result side by side, (B, C, H, W).

    All maps lie in one tensor from the start, in which every layer sees those before it, so that
    none is copied again for every layer behind it.
    """

    @classmethod
    def of(cls, layers: Iterable[Layer], dtype: torch.dtype) -> DenseLayers | None:
        """The block of these layers; None where one is more than plain norms and convolutions.

        layers  of each, what it does to all maps before it: its first norm, its 1x1 convolution,
                its second norm and the convolution whose result it adds
        dtype   that of weights and results; what is given is converted to it
        """
        layers = list(layers)
        if not layers or any(map(hooked, (part for each in layers for part in each))):
            return None
        parts: list[tuple[BoundedConvolution, Convolution]] = []
        for norm, narrow, inner_norm, widen in layers:
            if not (is_batch_norm(norm) and is_batch_norm(inner_norm)):
                return None
            if not (rewritable(narrow) and rewritable(widen)):
                return None
            if not _is_pointwise(narrow) or widen.stride != (1, 1):
                return None
            if any(2 * p != d * (k - 1) for p, d, k in _sides(widen)):
                return None
            bounded = BoundedConvolution(norm, narrow, inner_norm, dtype)
            parts.append((bounded, Convolution(widen, dtype)))
        return cls(parts, dtype)

    def __init__(
        self, parts: Sequence[tuple[BoundedConvolution, Convolution]], dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(*each) for each in parts)
        self.added = sum(len(widen.kernel_OIHW) for _, widen in parts)
        self.dtype = dtype

    def forward(self, x_BCHW: Tensor) -> Tensor:
        batch, end, height, width = x_BCHW.shape
        maps_BCHW = torch.empty(
            (batch, end + self.added, height, width),
            dtype=self.dtype,
            device=x_BCHW.device,
            memory_format=torch.channels_last,
        )
        maps_BCHW[:, :end] = x_BCHW
        for layer in self.layers:
            new_BCHW = layer(maps_BCHW[:, :end])
            start, end = end, end + new_BCHW.shape[1]
            maps_BCHW[:, start:end] = new_BCHW
        return maps_BCHW


class BoundedConvolution(nn.Module):
    """relu(inner_norm(narrow(relu(norm(x))))), with the first norm and ReLU as bounds of channels.

    With scale s and shift b of a channel, relu(s x + b) = s max(x, -b / s) + b for positive s, and
    the same with min for negative s. What is left of it is linear and the convolution's.
    """

    low_C11: Tensor
    high_C11: Tensor | None
    kernel_OIHW: Tensor
    shift_O: Tensor

    def __init__(
        self,
        norm: nn.BatchNorm2d,
        narrow: nn.Conv2d,
        inner_norm: nn.BatchNorm2d,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        scale_C, shift_C = scale_and_shift(norm)
        outer_O, shift_O = scale_and_shift(inner_norm)
        if narrow.bias is not None:
            shift_O = shift_O + outer_O * narrow.bias.detach().double()
        weight_OC = outer_O[:, None] * narrow.weight.detach().double()[:, :, 0, 0]
        constant_C = scale_C.abs() < NO_SCALE
        shift_O = shift_O + weight_OC @ torch.where(constant_C, shift_C.relu(), 0)
        bound_C = torch.where(constant_C, 0, -shift_C / scale_C).to(dtype)
        kernel_OC = torch.where(constant_C, 0, weight_OC * scale_C).to(dtype)
        # Of what was rounded, so that a channel at its bound adds nothing at all.
        shift_O = shift_O - kernel_OC.double() @ bound_C.double()
        self.dtype = dtype
        infinity = torch.full_like(bound_C, torch.inf)
        low_C11 = torch.where(scale_C > 0, bound_C, -infinity)[:, None, None]
        self.register_buffer("low_C11", low_C11)
        high_C11 = torch.where(scale_C < 0, bound_C, infinity)[:, None, None]
        self.register_buffer("high_C11", high_C11 if bool((scale_C < 0).any()) else None)
        self.register_buffer("kernel_OIHW", channels_last(kernel_OC[:, :, None, None], dtype))
        self.register_buffer("shift_O", shift_O.float())

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = x_BCHW.to(self.dtype)
        if self.high_C11 is None:
            bounded_BCHW = torch.maximum(x_BCHW, self.low_C11)
        else:
            bounded_BCHW = torch.clamp(x_BCHW, self.low_C11, self.high_C11)
        return pointwise(bounded_BCHW, self.kernel_OIHW, self.shift_O, relu=True)


def _is_pointwise(convolution: nn.Conv2d) -> bool:
    sides = (convolution.kernel_size, convolution.stride, convolution.padding)
    return sides == ((1, 1), (1, 1), (0, 0)) and convolution.groups == 1


def _sides(convolution: nn.Conv2d) -> Iterable[tuple[int, int, int]]:
    """Padding, dilation and taps of height and of width."""
    padding = tuple(int(each) for each in convolution.padding)
    return zip(padding, convolution.dilation, convolution.kernel_size, strict=True)
