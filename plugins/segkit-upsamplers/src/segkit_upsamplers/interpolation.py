"""Resize-convolution: interpolate to the size asked for, then convolve.

After Odena, Dumoulin and Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016: each pixel
of the interpolated map is made in the same way, so nothing favours a grid. Pixels are areas, not
points (align_corners is never used), so a map, its enlargement and the model's own resizing agree.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from segkit.api import UsageError
from segkit_upsamplers.coarse_convolution import convolve_enlarged, pays
from segkit_upsamplers.geometry import Size, check_odd, check_scale, same_convolution


class ResizeConvolution(nn.Module):
    """Interpolation right to any size, and a convolution from in_channels to out_channels.

    kernel   side of the convolution, odd; 0 for none, where the channels stay as they are

    A 1x1 convolution is computed before the interpolation, at a quarter of the cost (scale 2): the
    result is the same, since the weights of an interpolation sum to 1. Larger ones are computed
    before it too where that is quicker: on a CPU, in float32, where channels are many (see
    segkit_upsamplers.coarse_convolution).
    """

    name: ClassVar[str]
    mode: ClassVar[str]
    needs_pool_indices = False

    def __init__(self, in_channels: int, out_channels: int, scale: int, *, kernel: int = 3) -> None:
        super().__init__()
        check_scale(self.name, scale)
        self.channels, self.kernel = out_channels, kernel
        self.convolution: nn.Module = nn.Identity()
        if kernel:
            check_odd(self.name, "kernel", kernel)
            self.convolution = same_convolution(in_channels, out_channels, kernel)
        elif in_channels != out_channels:
            raise UsageError(
                "SK-C007",
                f"{self.name}: kernel=0 cannot turn {in_channels} channels into {out_channels}, "
                "as the decoder asks.",
                "Use kernel=1, the cheapest convolution.",
            )

    def forward(self, x_BCHW: Tensor, size: Size, pool_indices: Tensor | None = None) -> Tensor:
        if self.kernel == 1:
            return self.resize(self.convolution(x_BCHW), size)
        if isinstance(self.convolution, nn.Conv2d) and pays(self.convolution, x_BCHW, size):
            return convolve_enlarged(x_BCHW, self.convolution, size, self.mode)
        convolved_BCHW: Tensor = self.convolution(self.resize(x_BCHW, size))
        return convolved_BCHW

    def resize(self, x_BCHW: Tensor, size: Size) -> Tensor:
        aligned = None if self.mode.startswith("nearest") else False
        return F.interpolate(x_BCHW, size, mode=self.mode, align_corners=aligned)


class Nearest(ResizeConvolution):
    """Each pixel repeated (at odd sizes: the one below the centre), then a convolution.

    kernel   side of the convolution, odd; 0 for none, where the channels stay as they are
    """

    # Not "nearest": that one takes the pixel at the corner, which shifts the map at odd sizes.
    name, mode = "nearest", "nearest-exact"


class Bilinear(ResizeConvolution):
    """Linear interpolation along both axes, then a convolution.

    kernel   side of the convolution, odd; 0 for none, where the channels stay as they are
    """

    name, mode = "bilinear", "bilinear"


class Bicubic(ResizeConvolution):
    """Cubic interpolation (Keys 1981, a = -0.75) along both axes, then a convolution.

    kernel   side of the convolution, odd; 0 for none, where the channels stay as they are

    The curve overshoots at edges: a non-negative map may turn negative before the convolution. On
    CUDA its gradient adds in no fixed order, and torch.use_deterministic_algorithms refuses it.
    """

    name, mode = "bicubic", "bicubic"
