"""The way up with plain interpolation, as the U-Nets of tutorials and code collections have it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segkit.api import Features, MakeUpsampler, UsageError
from segkit_unet.checkpointing import Checkpointing
from segkit_unet.convolution import Norm, Style, initialise


class InterpolatingUnetDecoder(Checkpointing):
    """A U-Net's expansive path that interpolates bilinearly and learns nothing in doing so.

    The map is enlarged to the size of the next finer one, concatenated with it and convolved twice;
    the second convolution brings the channels to those of the map that comes next, so that no
    enlarging changes them. After the U-Net (Ronneberger et al. 2015, arXiv:1505.04597), in the form
    that is most often copied: bilinear, corner to corner. It ends at the finest map's stride.

    inner          channels between the two convolutions of each step, coarsest step first; none:
                   half of what was concatenated
    widths         channels after each step, coarsest first; none: those of the map after the next
    align_corners  interpolate from corner to corner, or as if pixels were areas
    norm           batch, group or none
    """

    uses_upsampler = False

    def __init__(
        self,
        *,
        channels: Sequence[int],
        strides: Sequence[int],
        make_upsampler: MakeUpsampler,
        inner: tuple[int, ...] | None = None,
        widths: tuple[int, ...] | None = None,
        align_corners: bool = True,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        skips = channels[-2::-1]
        widths = widths or (*skips[1:], *skips[-1:])
        sources = [r + s for r, s in zip((channels[-1], *widths), skips, strict=False)]
        inner = inner or tuple(source // 2 for source in sources)
        _refuse_other_lengths(len(skips), inner=inner, widths=widths)
        style = Style(norm=norm)
        self.steps = nn.ModuleList(
            nn.Sequential(*style.layer(source, middle), *style.layer(middle, width))
            for source, middle, width in zip(sources, inner, widths, strict=True)
        )
        self.interpolates_corners = align_corners
        self.channels, self.stride = (widths[-1] if widths else channels[-1]), strides[0]
        initialise(self)

    def forward(self, features: Features) -> Tensor:
        x_BCHW = features.maps[-1]
        for step, skip_BCHW in zip(self.steps, features.maps[-2::-1], strict=True):
            x_BCHW = self.run(step, x_BCHW, skip_BCHW, call=partial(self._enlarged, step))
        return x_BCHW

    def _enlarged(self, step: nn.Module, x_BCHW: Tensor, skip_BCHW: Tensor) -> Tensor:
        x_BCHW = F.interpolate(
            x_BCHW,
            skip_BCHW.shape[-2:],
            mode="bilinear",
            align_corners=self.interpolates_corners,
        )
        result_BCHW: Tensor = step(torch.cat([skip_BCHW, x_BCHW], dim=1))
        return result_BCHW


def _refuse_other_lengths(steps: int, **given: Sequence[int]) -> None:
    for name, values in given.items():
        if len(values) != steps or any(value < 1 for value in values):
            raise UsageError(
                "SK-C006",
                f"unet_bilinear: option '{name}' cannot be {list(values)}.",
                f"Over this encoder it takes {steps} numbers, each at least 1.",
            )
