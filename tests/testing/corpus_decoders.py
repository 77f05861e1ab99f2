"""Decoders, good and wrong: each wrong one differs from the good one in what its name says."""

import torch
from torch import nn
from torch.nn import functional as F

from segkit.api import UsageError
from segkit.testing.trials import PlainUpsampler


class Sound(nn.Module):
    """From each level to the next finer one through the upsampler, the skip added."""

    def __init__(self, channels, strides, make_upsampler, *, width: int = 5) -> None:
        super().__init__()
        self.channels, self.stride = channels[0], strides[0]
        coarse_to_fine = range(len(strides) - 1, 0, -1)
        self.upsamplers = nn.ModuleList(
            make_upsampler(
                in_channels=channels[i],
                out_channels=channels[i - 1],
                scale=strides[i] // strides[i - 1],
            )
            for i in coarse_to_fine
        )

    def forward(self, features):
        x_BCHW = features.maps[-1]
        for step, upsampler in enumerate(self.upsamplers):
            level = len(self.upsamplers) - 1 - step
            skip_BCHW = features.maps[level]
            indices = self.indices(features, level) if upsampler.needs_pool_indices else None
            x_BCHW = upsampler(x_BCHW, skip_BCHW.shape[-2:], indices) + skip_BCHW
        return x_BCHW

    def indices(self, features, level):
        return features.pool_indices[level]

    def set_grad_checkpointing(self, enable=True):
        self.upsamplers.requires_grad_(True)  # nothing here is worth computing twice


class RefusesAll(Sound):
    def __init__(self, channels, strides, make_upsampler) -> None:
        raise UsageError("SK-C007", "it takes no encoder at all.")


class HalfSize(Sound):
    def forward(self, features):
        return F.avg_pool2d(super().forward(features), 2)


class HalfSizeOver(Sound):
    """Half the size it declares, over one pyramid only."""

    levels, first = 0, 0

    def forward(self, features):
        out_BCHW = super().forward(features)
        mine = (len(self.upsamplers) + 1, self.stride) == (self.levels, self.first)
        return F.avg_pool2d(out_BCHW, 2) if mine else out_BCHW


def half_size_over(levels, first):
    return type("HalfSizeOver", (HalfSizeOver,), {"levels": levels, "first": first})


class AlwaysReadsIndices(Sound):
    def forward(self, features):
        self.indices(features, 0)
        return super().forward(features)


class NeverPassesIndices(Sound):
    def indices(self, features, level):
        return None


class WrongIndices(Sound):
    def indices(self, features, level):
        return features.pool_indices[0]


class NeverUpsamples(Sound):
    def __init__(self, channels, strides, make_upsampler) -> None:
        super().__init__(channels, strides, PlainUpsampler)


class UpsamplesInSecret(Sound):
    uses_upsampler = False


class EvenHead(Sound):
    head_kernel = 2


class FromTwo(Sound):
    """Good: it refuses with a reason what it cannot do."""

    def __init__(self, channels, strides, make_upsampler) -> None:
        if strides[0] != 2:
            raise UsageError("SK-C007", f"it cannot begin at stride {strides[0]}.")
        super().__init__(channels, strides, make_upsampler)


class Pooled(Sound):
    """Good: a part of what it returns is about the whole image, not about a place."""

    def forward(self, features):
        out_BCHW = super().forward(features)
        return out_BCHW + out_BCHW.mean(dim=(2, 3), keepdim=True)


class Idle(Sound):
    def __init__(self, channels, strides, make_upsampler) -> None:
        super().__init__(channels, strides, make_upsampler)
        self.idle = nn.Parameter(torch.zeros(1))


class MakesOneForShow(Sound):
    """Says that it uses upsamplers, makes them, and enlarges by itself."""

    def forward(self, features):
        x_BCHW = features.maps[-1]
        for step, upsampler in enumerate(self.upsamplers):
            skip_BCHW = features.maps[len(self.upsamplers) - 1 - step]
            enlarged = F.interpolate(x_BCHW, skip_BCHW.shape[-2:])
            x_BCHW = upsampler.convolution(enlarged) + skip_BCHW
        return x_BCHW


class HidesItsUpsamplers(Sound):
    def __init__(self, channels, strides, make_upsampler) -> None:
        super().__init__(channels, strides, make_upsampler)
        hidden = list(self.upsamplers)
        del self.upsamplers
        self.upsamplers = hidden


class Shifted(Sound):
    """What it returns lies a pixel to the right."""

    def forward(self, features):
        return super().forward(features).roll(1, dims=3)


class ShiftsASkip(Sound):
    """The finest skip is added a pixel too low."""

    def forward(self, features):
        maps = (features.maps[0].roll(1, dims=2), *features.maps[1:])
        return super().forward(features._replace(maps=maps))


class PadsOneSide(Sound):
    """A 3x3 convolution that is padded at top and left only."""

    def __init__(self, channels, strides, make_upsampler) -> None:
        super().__init__(channels, strides, make_upsampler)
        self.last = nn.Conv2d(channels[0], channels[0], 3)

    def forward(self, features):
        return self.last(F.pad(super().forward(features), (2, 0, 2, 0)))


class DropsAChannel(Sound):
    def forward(self, features):
        finest_BCHW = features.maps[0].clone()
        finest_BCHW[:, 0] = 0
        return super().forward(features._replace(maps=(finest_BCHW, *features.maps[1:])))


class DetachesASkip(Sound):
    def forward(self, features):
        maps = (features.maps[0].detach(), *features.maps[1:])
        return super().forward(features._replace(maps=maps))


class KeepsItsSkips(Sound):
    def forward(self, features):
        self.skips = features.maps
        return super().forward(features)


GOOD = (Sound, FromTwo, Pooled)
# The check that is to see it, and what it is to see.
WRONG = {
    RefusesAll: ("takes_some_encoder", "takes no encoder at all"),
    NeverUpsamples: ("says_what_it_does_with_upsampler_and_head", "never calls make_upsampler"),
    UpsamplesInSecret: ("says_what_it_does_with_upsampler_and_head", "and calls make_upsampler"),
    EvenHead: ("says_what_it_does_with_upsampler_and_head", "not odd"),
    MakesOneForShow: ("says_what_it_does_with_upsampler_and_head", "that it makes, 4 never run"),
    HidesItsUpsamplers: ("says_what_it_does_with_upsampler_and_head", "are no submodules"),
    half_size_over(5, 2): ("fits_five_levels_from_stride_2", "declared was"),
    half_size_over(4, 4): ("fits_four_levels_from_stride_4", "declared was"),
    half_size_over(4, 2): ("fits_four_levels_from_stride_2", "declared was"),
    half_size_over(5, 4): ("fits_five_levels_from_stride_4", "declared was"),
    half_size_over(5, 1): ("fits_five_levels_from_stride_1", "declared was"),
    AlwaysReadsIndices: ("takes_features_without_pool_indices", "not subscriptable"),
    NeverPassesIndices: ("unpooling_gets_its_indices", "got none"),
    WrongIndices: ("unpooling_gets_its_indices", "the pooling indices are"),
    Shifted: ("keeps_everything_in_its_place", r"and \+1\.0 pixels right"),
    ShiftsASkip: ("keeps_everything_in_its_place", r"map 0 .* comes out \+1\.0 pixels down"),
    PadsOneSide: ("keeps_everything_in_its_place", r"comes out \+1\.0 pixels down"),
    DropsAChannel: ("every_input_channel_counts", r"channels \[0\] of input 0 have no gradient"),
    DetachesASkip: ("every_input_channel_counts", "input 0 changes the output, but gets no grad"),
    Idle: ("every_parameter_gets_a_gradient", "the parameter idle has no part"),
    KeepsItsSkips: ("lets_its_maps_go", "still holds its input"),
}
