"""The one place where convolution, norm and padding are chosen, for every network here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from segkit.api import UsageError

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

    def convolution(
        self, in_channels: int, out_channels: int, rate: int | None = None
    ) -> nn.Module:
        """A 3x3 convolution, dilated by `rate`; without bias where a norm follows with its own."""
        reach = self.reach if rate is None else rate
        padding = reach if self.padding == "same" else 0
        bias = self.norm == "none"
        if self.conv != "separable":
            return nn.Conv2d(
                in_channels, out_channels, 3, padding=padding, dilation=reach, bias=bias
            )
        return nn.Sequential(
            nn.Conv2d(
                in_channels,
                in_channels,
                3,
                padding=padding,
                dilation=reach,
                groups=in_channels,
                bias=False,
            ),
            nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=bias),
        )

    def layer(
        self, in_channels: int, out_channels: int, rate: int | None = None
    ) -> list[nn.Module]:
        """Convolution, norm, ReLU."""
        return self.activated(self.convolution(in_channels, out_channels, rate), out_channels)

    def pointwise(self, in_channels: int, out_channels: int) -> list[nn.Module]:
        """The same with a 1x1 convolution."""
        convolution = nn.Conv2d(in_channels, out_channels, 1, bias=self.norm == "none")
        return self.activated(convolution, out_channels)

    def activated(self, convolution: nn.Module, channels: int) -> list[nn.Module]:
        """The convolution with its norm, where there is one, and its ReLU."""
        if self.norm == "none":
            return [convolution, nn.ReLU(inplace=True)]
        return [convolution, normalisation(self.norm, channels), nn.ReLU(inplace=True)]


class ConvBlock(nn.Sequential):
    """3x3 convolutions, each with norm and ReLU: (B, out_channels, H - 2 lost, W - 2 lost).

    lost   pixels lost at each side; 0 with padding same
    """

    def __init__(
        self, in_channels: int, out_channels: int, style: Style, convolutions: int = 2
    ) -> None:
        layers = style.layer(in_channels, out_channels)
        for _ in range(convolutions - 1):
            layers += style.layer(out_channels, out_channels)
        super().__init__(*layers)
        self.lost = convolutions * style.lost


def normalisation(norm: Literal["batch", "group"], channels: int) -> nn.Module:
    """Batch norm, or group norm with the most groups up to 32 that divide the channels."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels)


def initialise(network: nn.Module) -> None:
    """He et al. 2015 (arXiv:1502.01852) by fan-in: standard deviation sqrt(2 / N), biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def check_probability(component: str, option: str, value: float) -> None:
    """Raises UsageError SK-C006 where the option is no probability below 1."""
    if not 0 <= value < 1:
        raise UsageError(
            "SK-C006",
            f"{component}: option '{option}' cannot be {value}, which is no probability below 1.",
            "Give a number from 0 (none) to below 1.",
        )


def check_positive(component: str, **options: int) -> None:
    """Raises UsageError SK-C006 where one of the options is not at least 1."""
    for option, value in options.items():
        if value < 1:
            raise UsageError(
                "SK-C006",
                f"{component}: option '{option}' cannot be {value}.",
                "It is at least 1.",
            )


def cropped(x_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle of a map: the copy-and-crop of the U-Net paper."""
    top, left = ((have - want) // 2 for have, want in zip(x_BCHW.shape[-2:], size, strict=True))
    return x_BCHW[..., top : top + size[0], left : left + size[1]]
