"""Fully convolutional networks (Long, Shelhamer, Darrell 2015, arXiv:1411.4038), on any encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from segkit.api import Features, MakeUpsampler, UsageError
from segkit_unet.convolution import Conv, Norm, Style, check_positive, check_probability, initialise
from segkit_unet.steps import refuse_unpooling


class FcnDecoder(nn.Module):
    """Fully convolutional network (Long, Shelhamer, Darrell 2015, arXiv:1411.4038), on any encoder.

    Each map from the coarsest up to the variant's stride is scored by a 1x1 convolution; scores are
    enlarged, added up, and enlarged to full resolution at once. The skips' scores start at zero, as
    in the paper.

    variant   32s, 16s or 8s: the stride up to which maps are added, and the final enlargement;
              none: 8s, or the next that the encoder has a map for
    width     channels of the scores (the paper: one per class)
    hidden    channels of the two layers between the coarsest map and its score (the paper: 4096,
              the first of them 7x7 instead of 3x3)
    norm      of those layers: batch, group or none (the paper)
    dropout   probability of dropping their values, in training (the paper: 0.5)
    conv      standard, separable or atrous (rate 2) convolution for the first of them
    """

    stride = 1

    def __init__(
        self,
        *,
        channels: Sequence[int],
        strides: Sequence[int],
        make_upsampler: MakeUpsampler,
        variant: Literal["32s", "16s", "8s"] | None = None,
        width: int = 32,
        hidden: int = 512,
        norm: Norm = "batch",
        dropout: float = 0.0,
        conv: Conv = "standard",
    ) -> None:
        super().__init__()
        check_positive("fcn", width=width, hidden=hidden)
        check_probability("fcn", "dropout", dropout)
        finest = _finest(variant, strides)
        style = Style(norm=norm, conv=conv)
        self.channels, self.dropout = width, nn.Dropout(dropout)
        self.fully6 = nn.Sequential(*style.layer(channels[-1], hidden))
        self.fully7 = nn.Sequential(*style.pointwise(hidden, hidden))
        self.score = nn.Conv2d(hidden, width, kernel_size=1)
        self.levels = [
            level for level in reversed(range(len(strides) - 1)) if strides[level] >= finest
        ]
        initialise(self)
        self.additions, reached = nn.ModuleList(), strides[-1]
        for level in self.levels:
            scale = reached // strides[level]
            self.additions.append(Addition(channels[level], width, scale, make_upsampler))
            reached = strides[level]
        self.enlargement = finest
        self.upsampler = make_upsampler(in_channels=width, out_channels=width, scale=finest)
        refuse_unpooling("fcn", self.upsampler)

    def forward(self, features: Features) -> Tensor:
        coarsest_BCHW = self.dropout(self.fully6(features.maps[-1]))
        coarsest_BCHW = self.dropout(self.fully7(coarsest_BCHW))
        score_BCHW = self.score(coarsest_BCHW)
        for level, addition in zip(self.levels, self.additions, strict=True):
            score_BCHW = addition(score_BCHW, features.maps[level])
        height, width = (side * self.enlargement for side in score_BCHW.shape[-2:])
        return self.upsampler(score_BCHW, size=(height, width))


class Addition(nn.Module):
    """Enlarges the scores to a finer map's size and adds that map's own, which start at zero."""

    def __init__(
        self, channels: int, width: int, scale: int, make_upsampler: MakeUpsampler
    ) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, width, kernel_size=1)
        nn.init.zeros_(self.score.weight)
        self.upsampler = make_upsampler(in_channels=width, out_channels=width, scale=scale)
        refuse_unpooling("fcn", self.upsampler)

    def forward(self, score_BCHW: Tensor, map_BCHW: Tensor) -> Tensor:
        height, width = map_BCHW.shape[-2:]
        sum_BCHW: Tensor = self.upsampler(score_BCHW, size=(height, width)) + self.score(map_BCHW)
        return sum_BCHW


def _finest(variant: str | None, strides: Sequence[int]) -> int:
    """The stride that scores are added up to; raises UsageError SK-C007 for one without a map."""
    possible = [stride for stride in (8, 16, 32) if stride in strides]
    if variant is None and possible:
        return possible[0]
    finest = int((variant or "8s").removesuffix("s"))
    if finest in strides:
        return finest
    fix = "Choose an encoder with a map of stride 8, 16 or 32."
    if possible:
        fix = f"Write fcn(variant={possible[-1]}s), or give the encoder more levels."
    raise UsageError(
        "SK-C007",
        f"fcn(variant={finest}s) scores a map of stride {finest}, and the encoder's have "
        f"strides {', '.join(map(str, strides))}.",
        fix,
    )
