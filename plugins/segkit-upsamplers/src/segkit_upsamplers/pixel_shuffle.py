"""Sub-pixel convolution: the pixels of each block are made as channels, and then move apart.

Shi et al. 2016, arXiv:1609.05158; started after Aitken et al. 2017, arXiv:1707.02937 (ICNR).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segkit_upsamplers.geometry import (
    Size,
    SteppedUpsampler,
    check_odd,
    place,
    same_convolution,
    steps_of_two,
)


class PixelShuffle(SteppedUpsampler):
    """A convolution to four times the channels, put into 2x2 blocks; scale 4 is two such steps.

    kernel   side of the convolution, odd

    All four pixels of a block start from the same weights, so an untrained map equals the nearest
    enlargement of a convolution and shows no checkerboard. Sizes other than scale times the input
    are cut at the bottom and the right, or repeat the edge there.
    """

    def __init__(self, in_channels: int, out_channels: int, scale: int, *, kernel: int = 3) -> None:
        check_odd("pixel_shuffle", "kernel", kernel)
        super().__init__(
            lambda source, target: PixelShuffleStep(source, target, kernel),
            in_channels=in_channels,
            out_channels=out_channels,
            count=steps_of_two("pixel_shuffle", scale),
        )


class PixelShuffleStep(nn.Module):
    """One doubling: channels 4c to 4c + 3 of the convolution are the block of output channel c."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.convolution = same_convolution(in_channels, 4 * out_channels, kernel)
        start = same_convolution(in_channels, out_channels, kernel)
        with torch.no_grad():
            for mine, first in zip(self.convolution.parameters(), start.parameters(), strict=True):
                mine.copy_(first.repeat_interleave(4, dim=0))

    def forward(self, x_BCHW: Tensor, size: Size) -> Tensor:
        return place(F.pixel_shuffle(self.convolution(x_BCHW), 2), size)
