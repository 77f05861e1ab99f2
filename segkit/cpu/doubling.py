"""Blocks that double a map and convolve it, without the doubled map.

The form is that of segmentation-models-pytorch's Unet: a block is called with a map, the height and
width to enlarge it to and a skip, and has the parts conv1, conv2, attention1 and attention2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from segkit.cpu.calls import Call
from segkit.cpu.convolutions import channels_last, foldable, folded, hooked, rewritable

NEAREST = ("nearest", "nearest-exact")


def doubling_block(module: Any, call: Call, dtype: torch.dtype) -> nn.Module | None:
    """What takes the place of such a block; None for any other module.

    call   an example of its calls
    """
    if getattr(module, "interpolation_mode", None) not in NEAREST or len(call.args) < 3:
        return None
    parts = dict(module.named_children())
    if not {"conv1", "conv2", "attention1", "attention2"} <= parts.keys():
        return None
    if any(module.attention1.parameters()) or not isinstance(module.conv1, nn.Sequential):
        return None
    first = DoubledConvolution.of(module.conv1, channels=call.args[0].shape[1], dtype=dtype)
    return None if first is None else DoubledBlock(module, first)


class DoubledBlock(nn.Module):
    """Such a block, whose first convolution takes the map before it is doubled.

    block   the original, for maps that are not to be doubled, and for what follows
    """

    def __init__(self, block: Any, first: DoubledConvolution) -> None:
        super().__init__()
        self.block, self.first = block, first

    def forward(
        self, x_BChw: Tensor, height: int, width: int, skip_connection: Tensor | None = None
    ) -> Tensor:
        if (2 * x_BChw.shape[2], 2 * x_BChw.shape[3]) != (height, width):
            plain_BCHW: Tensor = self.block(x_BChw, height, width, skip_connection)
            return plain_BCHW
        first_BCHW = self.first(x_BChw, skip_connection)
        result_BCHW: Tensor = self.block.attention2(self.block.conv2(first_BCHW))
        return result_BCHW


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
        """For a convolution, a batch norm (or an identity) and a ReLU in this order, else None."""
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
        added_BCHW: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
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
        return added_BCHW

    def _doubled(self, x_BCHW: Tensor, behind: str) -> Tensor:
        """x's part of the convolution, of twice the height and width."""
        ones = [1, 1]
        result_BCHW: Tensor = torch.ops.mkldnn._convolution_transpose_pointwise(
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
        return result_BCHW


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
