"""The expansive path of the U-Net (Ronneberger et al. 2015, arXiv:1505.04597), over any encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from segkit.api import Features, MakeUpsampler
from segkit_unet.checkpointing import Checkpointing
from segkit_unet.convolution import (
    Conv,
    ConvBlock,
    Norm,
    Padding,
    Style,
    check_positive,
    check_probability,
    cropped,
    initialise,
)
from segkit_unet.steps import refuse_missing_indices, steps_to

SLIM = 16


class Step(nn.Module):
    """Enlarge, concatenate with the skip, drop, convolve twice.

    scale   how many times larger the result is, before an unpadded convolution takes its border
    skip    channels of the encoder's map at this stride, or None where it has none
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        scale: int,
        skip: int | None,
        make_upsampler: MakeUpsampler,
        style: Style,
        dropout: float,
    ) -> None:
        super().__init__()
        self.scale, self.dropout = scale, nn.Dropout(dropout)
        self.upsampler = make_upsampler(
            in_channels=in_channels, out_channels=out_channels, scale=scale
        )
        # What is put back where the encoder pooled has as many channels as the map that was pooled.
        if self.upsampler.needs_pool_indices and skip not in (None, out_channels):
            self.upsampler = make_upsampler(in_channels=in_channels, out_channels=skip, scale=scale)
        self.block = ConvBlock(self.upsampler.channels + (skip or 0), out_channels, style)
        initialise(self.block)

    def forward(
        self, x_BCHW: Tensor, skip_BCHW: Tensor | None, index_BCHW: Tensor | None
    ) -> Tensor:
        height, width = (side * self.scale for side in x_BCHW.shape[-2:])
        x_BCHW = self.upsampler(x_BCHW, size=(height, width), pool_indices=index_BCHW)
        if skip_BCHW is not None:
            x_BCHW = torch.cat([cropped(skip_BCHW, (height, width)), x_BCHW], dim=1)
        result_BCHW: Tensor = self.block(self.dropout(x_BCHW))
        return result_BCHW


class UnetDecoder(Checkpointing):
    """The expansive path of the U-Net (Ronneberger et al. 2015, arXiv:1505.04597), on any encoder.

    At each step the map is enlarged to the stride of the next finer map, while its channels shrink
    to the step's width; it is concatenated with that map and convolved twice. Beyond the finest map
    it is doubled and convolved until output_stride. Over the encoder unet, with padding=valid,
    norm=none and the upsampler transposed, this is the paper's network.

    width           channels at full resolution, doubled at every coarser stride; none: as many as
                    the encoder's finest map where that has stride 1 (the paper: 64), else 16
    output_stride   stride of the map returned; the model enlarges the logits from there
    padding         same, or valid: unpadded, over an encoder that is so too; skips are cropped
    norm            batch, group or none (the paper)
    dropout         probability of dropping a value after each concatenation, in training
    conv            standard, separable or atrous (rate 2) convolutions
    """

    def __init__(
        self,
        *,
        channels: Sequence[int],
        strides: Sequence[int],
        make_upsampler: MakeUpsampler,
        width: int | None = None,
        output_stride: Literal[1, 2, 4, 8] = 1,
        padding: Padding = "same",
        norm: Norm = "batch",
        dropout: float = 0.0,
        conv: Conv = "standard",
    ) -> None:
        super().__init__()
        check_probability("unet", "dropout", dropout)
        style = Style(padding, norm, conv)
        if width is None:
            width = channels[0] if strides[0] == 1 else SLIM
        check_positive("unet", width=width)
        reached, stride = channels[-1], strides[-1]
        self.steps, self.margin = nn.ModuleList(), 0
        self.skips: list[int | None] = []
        for finer, level in steps_to(output_stride, strides):
            step = Step(
                reached,
                width * finer,
                scale=stride // finer,
                skip=None if level is None else channels[level],
                make_upsampler=make_upsampler,
                style=style,
                dropout=dropout,
            )
            refuse_missing_indices(step.upsampler, step.scale, level, padding=padding)
            self.steps.append(step)
            self.skips.append(level)
            self.margin += step.block.lost * finer
            reached, stride = width * finer, finer
        self.channels, self.stride = reached, stride

    def forward(self, features: Features) -> Tensor:
        x_BCHW, indices = features.maps[-1], features.pool_indices
        for step, level in zip(self.steps, self.skips, strict=True):
            skip_BCHW = index_BCHW = None
            if level is not None:
                skip_BCHW, index_BCHW = features.maps[level], indices[level] if indices else None
            x_BCHW = self.run(step, x_BCHW, skip_BCHW, index_BCHW)
        return x_BCHW
