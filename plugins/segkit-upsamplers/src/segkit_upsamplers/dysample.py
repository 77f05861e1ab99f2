"""DySample: bilinear interpolation at points that the network moves.

Liu et al. 2023, "Learning to Upsample by Learning to Sample", arXiv:2308.15085.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segkit.api import UsageError
from segkit_upsamplers.geometry import (
    Size,
    SteppedUpsampler,
    check_at_least,
    laid_out_as,
    place,
    steps_of_two,
)

Style = Literal["lp", "pl"]


class DySample(SteppedUpsampler):
    """Learned point sampling; scale 4 is two such steps.

    style          lp: offsets by a linear layer, then pixel shuffle; pl: the other way round, with
                   fewer parameters (in_channels must then be a multiple of 4)
    groups         channel groups with points of their own (the largest common divisor with the
                   channels is taken)
    dynamic_scope  whether the factor on the linear layer's output is predicted too, from 0 to 0.5,
                   instead of 0.25 everywhere

    Points start almost where bilinear interpolation has them. A 1x1 convolution before the sampling
    maps to out_channels where they differ. Sizes other than scale times the input are cut at the
    bottom and the right, or repeat the edge there. On CUDA the gradient of grid_sample adds in no
    fixed order, and torch.use_deterministic_algorithms refuses it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        scale: int,
        *,
        style: Style = "lp",
        groups: int = 4,
        dynamic_scope: bool = False,
    ) -> None:
        check_at_least("dysample", "groups", groups, 1)
        super().__init__(
            lambda source, target: DySampleStep(
                source, target, style, math.gcd(groups, target), dynamic_scope
            ),
            in_channels=in_channels,
            out_channels=out_channels,
            count=steps_of_two("dysample", scale),
        )


class DySampleStep(nn.Module):
    """One doubling: predict an offset for each output pixel and group, then sample there."""

    def __init__(
        self, in_channels: int, out_channels: int, style: Style, groups: int, dynamic_scope: bool
    ) -> None:
        super().__init__()
        if style == "pl" and in_channels % 4:
            raise UsageError(
                "SK-C007",
                f"dysample: style=pl splits channels by four, and the map has {in_channels}.",
                "Use style=lp, which takes any number.",
            )
        self.style, self.groups = style, groups
        source = in_channels if style == "lp" else in_channels // 4
        predicted = groups * 2 * (4 if style == "lp" else 1)
        self.offset = nn.Conv2d(source, predicted, 1)
        nn.init.normal_(self.offset.weight, std=0.001)
        nn.init.zeros_(self.offset.bias)  # type: ignore[arg-type]
        self.scope = nn.Conv2d(source, predicted, 1, bias=False) if dynamic_scope else None
        if self.scope is not None:
            nn.init.zeros_(self.scope.weight)
        self.project: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.project = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x_BCHW: Tensor, size: Size) -> Tensor:
        guide_BCHW = x_BCHW if self.style == "lp" else F.pixel_shuffle(x_BCHW, 2)
        if self.scope is None:
            offset_BCHW = 0.25 * self.offset(guide_BCHW)
        else:
            offset_BCHW = 0.5 * self.scope(guide_BCHW).sigmoid() * self.offset(guide_BCHW)
        if self.style == "lp":
            offset_BCHW = F.pixel_shuffle(offset_BCHW, 2)
        offset_BG2HW = offset_BCHW.unflatten(1, (self.groups, 2))
        doubled_BCHW = sample_double(self.project(x_BCHW), offset_BG2HW)
        return place(laid_out_as(doubled_BCHW, x_BCHW), size)


def sample_double(x_BCHW: Tensor, offset_BG2HW: Tensor) -> Tensor:
    """Bilinear samples at twice the height and width, each moved by (x, y) input pixels.

    Zero offsets give bilinear interpolation; points beyond an edge take the edge's value.
    """
    height, width = x_BCHW.shape[-2:]
    # A position within a map of 1000 pixels does not fit bfloat16's 8 bits.
    exact = torch.promote_types(x_BCHW.dtype, torch.float32)
    offset_N2HW = offset_BG2HW.flatten(0, 1).to(exact)
    sides = ((width, 2 * width), (height, 2 * height))
    # (i + 0.5) / doubled is the place of output pixel i, an edge at 0 and the other at 1.
    column_W, row_H = (
        (torch.arange(doubled, device=x_BCHW.device, dtype=exact) + 0.5) / doubled
        for _, doubled in sides
    )
    along_x_NHW = 2 * (column_W + offset_N2HW[:, 0] / width) - 1
    along_y_NHW = 2 * (row_H[:, None] + offset_N2HW[:, 1] / height) - 1
    grid_NHW2 = torch.stack((along_x_NHW, along_y_NHW), dim=-1)
    # Each image's groups of channels as images of their own.
    grouped_NCHW = x_BCHW.reshape(len(offset_N2HW), -1, height, width)
    sampled_NCHW = F.grid_sample(
        grouped_NCHW.to(exact), grid_NHW2, padding_mode="border", align_corners=False
    )
    return sampled_NCHW.reshape(*x_BCHW.shape[:2], 2 * height, 2 * width).to(x_BCHW.dtype)
