"""The one place where a convolution, its norm and its padding are chosen, for every network here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

Conv = Literal["standard", "separable", "atrous"]
Norm = Literal["batch", "group", "none"]
Padding = Literal["same", "valid"]

ATROUS_RATE = 2
GROUPS = 32


@dataclass(frozen=True)
class Style:
    """How the 3x3 convolutions of a path are done.

    padding   same: zeros around, the size stays; valid: none, the border is lost
    norm      what follows each convolution: batch norm, group norm (32 groups) or nothing
    conv      standard; separable: each channel by itself, then 1x1 across the channels (Chollet
              2017, arXiv:1610.02357); atrous: with one pixel left out between taps (Chen et al.
              2017, arXiv:1706.05587)
    """

    padding: Padding = "same"
    norm: Norm = "batch"
    conv: Conv = "standard"

    @property
    def reach(self) -> int:
        """Pixels a 3x3 convolution sees beyond its centre."""
        return ATROUS_RATE if self.conv == "atrous" else 1

    @property
    def lost(self) -> int:
        """Pixels a 3x3 convolution loses at each side."""
        return self.reach if self.padding == "valid" else 0

    def convolution(self, in_channels: int, out_channels: int) -> nn.Module:
        """A 3x3 convolution; without bias where a norm follows, which has its own."""
        spatial = {
            "kernel_size": 3,
            "padding": self.reach if self.padding == "same" else 0,
            "dilation": self.reach,
        }
        bias = self.norm == "none"
        if self.conv != "separable":
            return nn.Conv2d(in_channels, out_channels, bias=bias, **spatial)
        return nn.Sequential(
            nn.Conv2d(in_channels, in_channels, groups=in_channels, bias=False, **spatial),
            nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=bias),
        )

    def layer(self, in_channels: int, out_channels: int) -> list[nn.Module]:
        """Convolution, norm, ReLU."""
        layer = [self.convolution(in_channels, out_channels)]
        if self.norm != "none":
            layer.append(normalisation(self.norm, out_channels))
        return [*layer, nn.ReLU(inplace=True)]


class ConvBlock(nn.Sequential):
    """Two 3x3 convolutions, each with norm and ReLU: (B, out_channels, H - 2 lost, W - 2 lost).

    lost   pixels lost at each side; 0 with padding same
    """

    def __init__(self, in_channels: int, out_channels: int, style: Style) -> None:
        super().__init__(
            *style.layer(in_channels, out_channels), *style.layer(out_channels, out_channels)
        )
        self.lost = 2 * style.lost


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """The norm layer of that name; Identity for none."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "group":
        return nn.GroupNorm(math.gcd(GROUPS, channels), channels)
    return nn.Identity()


def initialise(network: nn.Module) -> None:
    """He et al. 2015 (arXiv:1502.01852) by fan-in: standard deviation sqrt(2 / N), biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def cropped(x_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of a map: the copy-and-crop of the U-Net paper."""
    top, left = ((have - want) // 2 for have, want in zip(x_BCHW.shape[-2:], size, strict=True))
    return x_BCHW[..., top : top + size[0], left : left + size[1]]
