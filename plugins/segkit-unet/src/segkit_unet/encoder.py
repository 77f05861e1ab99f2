"""The contracting path of the U-Net (Ronneberger et al. 2015, arXiv:1505.04597)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from segkit.api import Features, Normalization, UsageError, find_weights, load_encoder_weights
from segkit_unet.checkpointing import Checkpointing
from segkit_unet.convolution import (
    Conv,
    ConvBlock,
    Norm,
    Padding,
    Style,
    check_positive,
    check_probability,
    initialise,
)


class UnetEncoder(Checkpointing):
    """The contracting path of the U-Net (Ronneberger et al. 2015, arXiv:1505.04597).

    Two 3x3 convolutions a level, 2x2 maximum pooling between levels, twice the channels at each:
    strides 1, 2, 4, ... times the first. The pooling indices go with the maps, unless padding is
    valid: then the maps they belong to lose their border. The paper's own: padding=valid,
    norm=none, dropout=0.5.

    depth         levels; the paper has 5
    width         channels of the first level, doubled at each further one
    deepest       channels of the deepest level; none: doubled there too
    stride        of the first level: with 2 or 4 squares of as many pixels a side become channels
                  of one (pixel unshuffle, Shi et al. 2016, arXiv:1609.05158) before it
    padding       same: zeros around every convolution; valid: none, as in the paper, and the model
                  mirrors the border of the image to make up for what is lost
    norm          batch, group or none (the paper)
    dropout       probability of dropping a value, in training
    dropout_at    end: after the deepest level (the paper); pools: after every pooling
    conv          standard, separable or atrous (rate 2) convolutions
    """

    def __init__(
        self,
        *,
        in_channels: int,
        weights: str,
        depth: int = 5,
        width: int = 64,
        deepest: int | None = None,
        stride: Literal[1, 2, 4] = 1,
        padding: Padding = "same",
        norm: Norm = "batch",
        dropout: float = 0.0,
        dropout_at: Literal["end", "pools"] = "end",
        conv: Conv = "standard",
    ) -> None:
        super().__init__()
        check_positive("unet", width=width, deepest=1 if deepest is None else deepest)
        check_probability("unet", "dropout", dropout)
        if not 2 <= depth <= 8:
            raise UsageError(
                "SK-C006", f"unet: option 'depth' cannot be {depth}.", "It is 2 to 8 levels."
            )
        file = find_weights("unet", weights, None)
        style = Style(padding, norm, conv)
        doubled = [width * 2**level for level in range(depth)]
        self.channels = (*doubled[:-1], deepest or doubled[-1])
        self.stride = stride
        self.strides = tuple(stride * 2**level for level in range(depth))
        self.normalization = Normalization((0.5,) * in_channels, (0.25,) * in_channels)
        before = (in_channels * stride**2, *self.channels[:-1])
        self.levels = nn.ModuleList(
            ConvBlock(i, o, style) for i, o in zip(before, self.channels, strict=True)
        )
        lost = [2 * style.lost * stride for stride in self.strides]
        self.margins = tuple(sum(lost[: level + 1]) for level in range(depth))
        self.dropout, self.dropout_at = nn.Dropout(dropout), dropout_at
        self.provides_pool_indices = padding == "same"
        initialise(self)
        load_encoder_weights(
            self,
            str(file or "none"),
            published=None,
            name="unet",
            first_convolution=self._first_convolution() if stride == 1 else None,
        )

    def forward(self, image_BCHW: Tensor) -> Features:
        maps, pool_indices = [], []
        x_BCHW = F.pixel_unshuffle(image_BCHW, self.stride) if self.stride > 1 else image_BCHW
        for level, block in enumerate(self.levels):
            if level:
                x_BCHW, index_BCHW = F.max_pool2d(x_BCHW, kernel_size=2, return_indices=True)
                pool_indices.append(index_BCHW)
                x_BCHW = self._dropped(x_BCHW, "pools")
            x_BCHW = self.run(block, x_BCHW)
            maps.append(x_BCHW)
        maps[-1] = self._dropped(x_BCHW, "end")
        return Features(tuple(maps), tuple(pool_indices) if self.provides_pool_indices else None)

    def _dropped(self, x_BCHW: Tensor, place: str) -> Tensor:
        return self.dropout(x_BCHW) if self.dropout_at == place else x_BCHW

    def _first_convolution(self) -> str:
        return next(iter(self.state_dict()))
