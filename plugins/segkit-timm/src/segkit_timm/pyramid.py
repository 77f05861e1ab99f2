"""Levels for plain vision transformers, whose maps all have the stride of a patch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class TransformerPyramid(nn.Module):
    """Four maps of one stride s, from shallow to deep, to levels of stride s/4, s/2, s and 2s.

    By transposed 2x2 convolutions and a 2x2 maximum, as BEiT feeds UPerNet (Bao et al. 2021,
    arXiv:2106.08254), but normalised over each map, not over the batch, so that one image trains.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels = (channels,) * 4
        self.strides = (stride // 4, stride // 2, stride, 2 * stride)
        self.levels = nn.ModuleList(
            [
                nn.Sequential(
                    nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2),
                    nn.GroupNorm(1, channels),
                    nn.GELU(),
                    nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2),
                ),
                nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2),
                nn.Identity(),
                nn.MaxPool2d(kernel_size=2, stride=2),
            ]
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(level(map_BCHW) for level, map_BCHW in zip(self.levels, maps, strict=True))
