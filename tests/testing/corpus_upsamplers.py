"""Upsamplers, good and wrong: each wrong one differs from the good one in what its name says."""

import torch
from torch import nn
from torch.nn import functional as F

from segkit.api import UsageError


class Sound(nn.Module):
    needs_pool_indices = False

    def __init__(self, in_channels, out_channels, scale, *, bias: bool = True) -> None:
        super().__init__()
        self.channels, self.scale = out_channels, scale
        self.convolution = nn.Conv2d(in_channels, out_channels, 1, bias=bias)

    def forward(self, x_BCHW, size, pool_indices=None):
        return F.interpolate(self.convolution(x_BCHW), size=size)


class Unpooling(Sound):
    """Sound too: it needs indices, and refuses what one pooling cannot have done."""

    needs_pool_indices = True

    def __init__(self, in_channels, out_channels, scale) -> None:
        if scale != 2:
            raise UsageError("SK-C007", f"one pooling halves, and {scale} is asked for.")
        super().__init__(in_channels, out_channels, scale)

    def forward(self, x_BCHW, size, pool_indices=None):
        return F.max_unpool2d(self.convolution(x_BCHW), pool_indices, 2, output_size=size)


class ForgetsChannels(Sound):
    def __init__(self, in_channels, out_channels, scale) -> None:
        super().__init__(in_channels, out_channels, scale)
        self.channels = in_channels


class Wrong(Sound):
    """Right at every size but those for which `at` says no."""

    @staticmethod
    def at(size, scale):
        return False

    def forward(self, x_BCHW, size, pool_indices=None):
        out_BCHW = super().forward(x_BCHW, size)
        return out_BCHW[..., :-1] if self.at(size, self.scale) else out_BCHW


def wrong(at):
    return type("Wrong", (Wrong,), {"at": staticmethod(at)})


class Transposed(nn.Module):
    """Good: a transposed convolution with an odd kernel is half a pixel off by design."""

    needs_pool_indices = False

    def __init__(self, in_channels, out_channels, scale) -> None:
        super().__init__()
        if scale != 2:
            raise UsageError("SK-C007", f"it doubles, and {scale} is asked for.")
        self.channels = out_channels
        self.convolution = nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1)

    def forward(self, x_BCHW, size, pool_indices=None):
        out_BCHW = self.convolution(x_BCHW)
        height, width = out_BCHW.shape[2:]
        return F.pad(out_BCHW, (0, size[1] - width, 0, size[0] - height))


class Bicubic(Sound):
    """Good: with negative weights, and a response wider than a pixel."""

    def forward(self, x_BCHW, size, pool_indices=None):
        return F.interpolate(self.convolution(x_BCHW), size=size, mode="bicubic")


class SwapsHeightAndWidth(Sound):
    """The size is right, the content mirrored at the diagonal."""

    def forward(self, x_BCHW, size, pool_indices=None):
        return super().forward(x_BCHW.mT, size)


class HalfTheContent(Sound):
    def forward(self, x_BCHW, size, pool_indices=None):
        height, width = size[0] // 2 or 1, size[1] // 2 or 1
        out_BCHW = super().forward(x_BCHW, (height, width))
        return F.pad(out_BCHW, (0, size[1] - width, 0, size[0] - height))


class Shifted(Sound):
    def forward(self, x_BCHW, size, pool_indices=None):
        return super().forward(x_BCHW, size).roll(1, dims=2)


class AlignsCorners(Sound):
    def forward(self, x_BCHW, size, pool_indices=None):
        return F.interpolate(
            self.convolution(x_BCHW), size=size, mode="bilinear", align_corners=True
        )


class NotEight(Sound):
    def __init__(self, in_channels, out_channels, scale) -> None:
        if scale > 4:
            raise KeyError(scale)
        super().__init__(in_channels, out_channels, scale)


class DropsAChannel(Sound):
    def forward(self, x_BCHW, size, pool_indices=None):
        return super().forward(torch.cat([x_BCHW[:, 1:], x_BCHW[:, 1:2]], dim=1), size)


GOOD = (Sound, Unpooling, Transposed, Bicubic)
# The check that is to see it, and what it is to see.
WRONG = {
    ForgetsChannels: ("declares_channels_and_needs", "channels is 8, asked for were 4"),
    wrong(lambda size, scale: size == (12, 4)): ("doubles_exactly", "asked for"),
    wrong(lambda size, scale: scale == 4): ("quadruples_exactly", "asked for"),
    wrong(lambda size, scale: scale == 8): ("enlarges_eightfold", "asked for"),
    NotEight: ("enlarges_eightfold", "failed to build"),
    wrong(lambda size, scale: size[0] % 2): ("odd_sizes_are_exact", "asked for"),
    wrong(lambda size, scale: size == (7, 11)): ("smaller_sizes_are_exact", "asked for"),
    wrong(lambda size, scale: size == (2, 2)): ("keeps_a_single_pixel", "asked for"),
    SwapsHeightAndWidth: ("keeps_everything_in_its_place", "pixels move by"),
    HalfTheContent: ("keeps_everything_in_its_place", "the content is 50% as large"),
    Shifted: ("keeps_everything_in_its_place", r"lies \+1\.0 output pixels off along the height"),
    AlignsCorners: ("keeps_everything_in_its_place", "pixels move by"),
    DropsAChannel: ("every_input_channel_counts", r"channels \[0\] of input 0 have no gradient"),
}
