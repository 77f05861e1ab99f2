"""DeepLabV3+'s decoder (Chen et al. 2018, arXiv:1802.02611) on any encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segkit.api import Features, MakeUpsampler, Upsampler
from segkit_unet.convolution import (
    Conv,
    ConvBlock,
    Norm,
    Style,
    check_positive,
    check_probability,
    initialise,
)
from segkit_unet.steps import refuse_unpooling

# Chen et al. 2017 (arXiv:1706.05587), section 3.3: the rates for a map of stride 16.
RATES, RATES_STRIDE = (6, 12, 18), 16
LOW_STRIDE = 4


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: a 1x1, three dilated 3x3 and the image's mean, side by side.

    The mean is one pixel per image. It gets no batch norm, which needs more than one value per
    channel and would fail on a batch of one image.
    """

    def __init__(
        self, in_channels: int, width: int, rates: Sequence[int], style: Style, dropout: float
    ) -> None:
        super().__init__()
        self.near = nn.Sequential(*style.pointwise(in_channels, width))
        self.far = nn.ModuleList(
            nn.Sequential(*style.layer(in_channels, width, rate)) for rate in rates
        )
        self.whole = nn.Conv2d(in_channels, width, kernel_size=1)
        self.join = nn.Sequential(*style.pointwise((2 + len(rates)) * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        whole_BC11 = F.relu(self.whole(x_BCHW.mean(dim=(2, 3), keepdim=True)))
        whole_BCHW = whole_BC11.expand(-1, -1, *x_BCHW.shape[-2:])
        branches = [self.near(x_BCHW), *(far(x_BCHW) for far in self.far), whole_BCHW]
        joined_BCHW: Tensor = self.dropout(self.join(torch.cat(branches, dim=1)))
        return joined_BCHW


class DeepLabV3PlusDecoder(nn.Module):
    """DeepLabV3+ (Chen et al. 2018, arXiv:1802.02611), on any encoder.

    Atrous spatial pyramid pooling on the coarsest map, enlarged to the map of stride 4 (or the
    nearest finer, or the finest), concatenated with 48 channels of it, and convolved twice. The
    model enlarges the logits from there. Over an encoder of one map there is no finer one: what is
    left is DeepLabV3 (Chen et al. 2017, arXiv:1706.05587).

    width     channels of the pyramid and of the result
    low       channels the finer map is reduced to
    rates     dilation of the pyramid's three convolutions; none: 6, 12, 18 for a coarsest map of
              stride 16, in proportion for others (32: 3, 6, 9)
    norm      batch (the paper), group or none
    dropout   probability of dropping a value of the pyramid, in training
    conv      standard, separable (the paper's faster one) or atrous (rate 2 in the last two)
    """

    def __init__(
        self,
        *,
        channels: Sequence[int],
        strides: Sequence[int],
        make_upsampler: MakeUpsampler,
        width: int = 256,
        low: int = 48,
        rates: tuple[int, int, int] | None = None,
        norm: Norm = "batch",
        dropout: float = 0.1,
        conv: Conv = "standard",
    ) -> None:
        super().__init__()
        check_positive("deeplabv3plus", width=width, low=low)
        check_probability("deeplabv3plus", "dropout", dropout)
        style = Style(norm=norm, conv=conv)
        self.level = low_level(strides)
        self.uses_upsampler = finer = self.level < len(strides) - 1
        self.rates = rates_for(strides[-1]) if rates is None else rates
        check_positive("deeplabv3plus", rates=min(self.rates))
        self.channels, self.stride = width, strides[self.level]
        self.pyramid = AtrousPyramid(channels[-1], width, self.rates, style, dropout)
        low = low if finer else 0
        if finer:
            self.reduce = nn.Sequential(*style.pointwise(channels[self.level], low))
        self.refine = ConvBlock(width + low, width, style)
        initialise(self)
        self.upsampler: Upsampler | None = None
        if finer:
            self.upsampler = make_upsampler(
                in_channels=width, out_channels=width, scale=strides[-1] // self.stride
            )
            refuse_unpooling("deeplabv3plus", self.upsampler)

    def forward(self, features: Features) -> Tensor:
        maps = [self.pyramid(features.maps[-1])]
        if self.upsampler is not None:
            low_BCHW = self.reduce(features.maps[self.level])
            size = tuple(low_BCHW.shape[-2:])
            maps = [low_BCHW, self.upsampler(maps[0], size=size)]
        result_BCHW: Tensor = self.refine(torch.cat(maps, dim=1))
        return result_BCHW


def rates_for(stride: int) -> tuple[int, int, int]:
    """The pyramid's rates where the coarsest map has this stride: the same reach in the image."""
    near, middle, far = (max(1, rate * RATES_STRIDE // stride) for rate in RATES)
    return near, middle, far


def low_level(strides: Sequence[int]) -> int:
    """The level the decoder ends at: the coarsest of stride 4 or less, else the finest."""
    fine = [level for level, stride in enumerate(strides[:-1]) if stride <= LOW_STRIDE]
    return fine[-1] if fine else 0
