"""Unpooling: every value goes to one pixel of its 2x2 block, and the others are zero.

`max_unpool` puts it back where the encoder's maximum came from (Zeiler and Fergus 2014,
arXiv:1311.2901; SegNet: Badrinarayanan et al. 2015, arXiv:1511.00561); `bed_of_nails` always at the
top left. The zeros are left for the decoder's next convolution to fill.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segkit.api import UsageError
from segkit_upsamplers.geometry import (
    Size,
    check_odd,
    check_scale,
    is_channels_last,
    same_convolution,
)


class MaxUnpool(nn.Module):
    """Each value back to where the encoder's 2x2 maximum was found, zeros elsewhere; scale 2 only.

    kernel   side of the convolution before, odd; none: 3 where the channels change, else no
             convolution

    The pooling indices count along rows of the map that was pooled, which is the size asked for (as
    torch.nn.functional.max_unpool2d has it), or twice the input where that cannot be: the result is
    then cut, or filled up with zeros.
    """

    needs_pool_indices = True

    def __init__(
        self, in_channels: int, out_channels: int, scale: int, *, kernel: int | None = None
    ) -> None:
        super().__init__()
        check_scale("max_unpool", scale)
        if scale != 2:
            raise UsageError(
                "SK-C007",
                f"max_unpool undoes one 2x2 pooling, and the decoder asks for a scale of {scale}.",
                "Choose a decoder that enlarges level by level, such as segnet or unet, over an "
                "encoder whose strides double, or another upsampler.",
            )
        self.channels = out_channels
        self.convolution = convolution_before("max_unpool", in_channels, out_channels, kernel)

    def forward(self, x_BCHW: Tensor, size: Size, pool_indices: Tensor | None = None) -> Tensor:
        x_BCHW = self.convolution(x_BCHW)
        if pool_indices is None:
            raise UsageError(
                "SK-C007",
                "max_unpool was called without pooling indices.",
                "Choose a decoder and an encoder that hand them on, such as segnet over vgg16_bn.",
            )
        if pool_indices.shape != x_BCHW.shape:
            raise UsageError(
                "SK-C007",
                f"max_unpool was given pooling indices of shape {tuple(pool_indices.shape)} for a "
                f"map of shape {tuple(x_BCHW.shape)}.",
                "Both have the channels and the size of the level that was pooled.",
            )
        return unpool(x_BCHW, pool_indices, size)


class BedOfNails(nn.Module):
    """Each value to the top left of its scale x scale block, zeros elsewhere.

    kernel   side of the convolution before, odd; none: 3 where the channels change, else no
             convolution

    Sizes beyond scale times the input are filled up with zeros.
    """

    needs_pool_indices = False

    def __init__(
        self, in_channels: int, out_channels: int, scale: int, *, kernel: int | None = None
    ) -> None:
        super().__init__()
        check_scale("bed_of_nails", scale)
        self.channels, self.scale = out_channels, scale
        self.convolution = convolution_before("bed_of_nails", in_channels, out_channels, kernel)

    def forward(self, x_BCHW: Tensor, size: Size, pool_indices: Tensor | None = None) -> Tensor:
        x_BCHW = self.convolution(x_BCHW)
        gap = self.scale - 1
        # Zeros after each pixel along two axes of their own, which fold into rows and columns.
        if is_channels_last(x_BCHW):
            x_BHWC = x_BCHW.permute(0, 2, 3, 1)
            spread_BHhWwC = F.pad(x_BHWC[:, :, None, :, None], (0, 0, 0, gap, 0, 0, 0, gap))
            nails_BCHW = spread_BHhWwC.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
        else:
            spread_BCHhWw = F.pad(x_BCHW[:, :, :, None, :, None], (0, gap, 0, 0, 0, gap))
            nails_BCHW = spread_BCHhWw.flatten(4, 5).flatten(2, 3)
        return cut_or_fill(nails_BCHW, size)


def convolution_before(
    name: str, in_channels: int, out_channels: int, kernel: int | None
) -> nn.Module:
    """The convolution that brings a map to the channels of the pooled one."""
    if kernel is None:
        if in_channels == out_channels:
            return nn.Identity()
        kernel = 3
    check_odd(name, "kernel", kernel)
    return same_convolution(in_channels, out_channels, kernel)


def unpool(x_BCHW: Tensor, index_BCHW: Tensor, size: Size) -> Tensor:
    """Each value at its flat index in a map of `size`, where 2x2 pooling fits that size.

    A comparison for each corner of the block, no scattered writes: the same bits on every run and
    device, any memory format, and an index outside its block gives zeros, not a crash.
    """
    height, width = x_BCHW.shape[-2:]
    pooled_width = size[1] if abs(size[1] - 2 * width) < 2 else 2 * width
    row_H1 = torch.arange(height, device=x_BCHW.device)[:, None]
    column_W = torch.arange(width, device=x_BCHW.device)
    corner_BCHW = index_BCHW - (2 * row_H1 * pooled_width + 2 * column_W)
    zero = x_BCHW.new_zeros(())
    corners = [
        torch.where(corner_BCHW == corner, x_BCHW, zero)
        for corner in (0, 1, pooled_width, pooled_width + 1)
    ]
    return cut_or_fill(_interleaved(*corners), size)


def _interleaved(a_BCHW: Tensor, b_BCHW: Tensor, c_BCHW: Tensor, d_BCHW: Tensor) -> Tensor:
    """Blocks of 2x2 pixels, a and b above c and d: (B, C, 2H, 2W), in memory as the four are."""
    if is_channels_last(a_BCHW):
        rows = [
            torch.stack([each.permute(0, 2, 3, 1) for each in pair], dim=3).flatten(2, 3)
            for pair in ((a_BCHW, b_BCHW), (c_BCHW, d_BCHW))
        ]
        return torch.stack(rows, dim=2).flatten(1, 2).permute(0, 3, 1, 2)
    above = torch.stack((a_BCHW, b_BCHW), dim=4).flatten(3, 4)
    below = torch.stack((c_BCHW, d_BCHW), dim=4).flatten(3, 4)
    return torch.stack((above, below), dim=3).flatten(2, 3)


def cut_or_fill(x_BCHW: Tensor, size: Size) -> Tensor:
    """Cut off at the bottom and the right, or filled with zeros there, to make `size`."""
    height, width = x_BCHW.shape[-2:]
    if (height, width) == size:
        return x_BCHW
    return F.pad(x_BCHW, (0, size[1] - width, 0, size[0] - height))
