"""Every check of its own that an upsampler must pass can fail: a broken upsampler for each."""

import pytest
from torch import nn
from torch.nn import functional as F

from segkit.api import UsageError
from segkit.testing import NotApplicable
from segkit.testing.modules import MODULE_CHECKS
from segkit.testing.upsamplers import CHECKS


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


BROKEN = {
    "declares_channels_and_needs": (ForgetsChannels, "channels is 8, asked for were 4"),
    "doubles_exactly": (wrong(lambda size, scale: size == (12, 4)), "asked for"),
    "quadruples_exactly": (wrong(lambda size, scale: scale == 4), "asked for"),
    "odd_sizes_are_exact": (wrong(lambda size, scale: size[0] % 2), "asked for"),
    "smaller_sizes_are_exact": (wrong(lambda size, scale: size == (7, 11)), "asked for"),
    "keeps_a_single_pixel": (wrong(lambda size, scale: size == (2, 2)), "asked for"),
}
OWN = {check.__name__: check for check in CHECKS if check not in MODULE_CHECKS}


@pytest.mark.parametrize("factory", [Sound, Unpooling])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_sound_upsampler_passes(check, factory, subject_of):
    try:
        check(subject_of("upsamplers", factory))
    except NotApplicable:
        assert factory is Unpooling


@pytest.mark.parametrize("name", OWN)
def test_a_broken_upsampler_is_caught(name, subject_of):
    factory, message = BROKEN[name]
    with pytest.raises(AssertionError, match=message):
        OWN[name](subject_of("upsamplers", factory))
