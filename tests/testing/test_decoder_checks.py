"""Every check of its own that a decoder must pass can fail: a broken decoder for each."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segkit.api import UsageError
from segkit.testing import NotApplicable
from segkit.testing.decoders import CHECKS
from segkit.testing.modules import MODULE_CHECKS, STAGE_CHECKS
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


BROKEN = {
    "says_what_it_does_with_upsampler_and_head": (NeverUpsamples, "never calls make_upsampler"),
    "takes_some_encoder": (RefusesAll, "takes no encoder at all"),
    "fits_five_levels_from_stride_2": (half_size_over(5, 2), "declared was"),
    "fits_four_levels_from_stride_4": (half_size_over(4, 4), "declared was"),
    "fits_four_levels_from_stride_2": (half_size_over(4, 2), "declared was"),
    "fits_five_levels_from_stride_4": (half_size_over(5, 4), "declared was"),
    "fits_five_levels_from_stride_1": (half_size_over(5, 1), "declared was"),
    "takes_features_without_pool_indices": (AlwaysReadsIndices, "not subscriptable"),
    "unpooling_gets_its_indices": (NeverPassesIndices, "got none"),
}
OWN = {check.__name__: check for check in CHECKS if check not in MODULE_CHECKS + STAGE_CHECKS}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_sound_decoder_passes(check, subject_of):
    check(subject_of("decoders", Sound))


@pytest.mark.parametrize("name", OWN)
def test_a_broken_decoder_is_caught(name, subject_of):
    factory, message = BROKEN[name]
    with pytest.raises(Exception, match=message):
        OWN[name](subject_of("decoders", factory))


@pytest.mark.parametrize(
    ("broken", "message"), [(UpsamplesInSecret, "and calls make_upsampler"), (EvenHead, "not odd")]
)
def test_a_decoder_that_says_otherwise_than_it_does_is_caught(broken, message, subject_of):
    with pytest.raises(AssertionError, match=message):
        OWN["says_what_it_does_with_upsampler_and_head"](subject_of("decoders", broken))


def test_indices_of_another_step_are_caught(subject_of):
    with pytest.raises(AssertionError, match="the pooling indices are"):
        OWN["unpooling_gets_its_indices"](subject_of("decoders", WrongIndices))


def test_a_refused_encoder_is_no_verdict(subject_of):
    class FromTwo(Sound):
        def __init__(self, channels, strides, make_upsampler) -> None:
            if strides[0] != 2:
                raise UsageError("SK-C007", f"it cannot begin at stride {strides[0]}.")
            super().__init__(channels, strides, make_upsampler)

    OWN["takes_some_encoder"](subject_of("decoders", FromTwo))
    with pytest.raises(NotApplicable, match="it cannot begin at stride 4"):
        OWN["fits_four_levels_from_stride_4"](subject_of("decoders", FromTwo))


def test_a_dead_parameter_of_a_decoder_is_caught(subject_of):
    class Idle(Sound):
        def __init__(self, channels, strides, make_upsampler) -> None:
            super().__init__(channels, strides, make_upsampler)
            self.idle = nn.Parameter(torch.zeros(1))

    [gradients] = [c for c in MODULE_CHECKS if c.__name__ == "every_parameter_gets_a_gradient"]
    with pytest.raises(AssertionError, match="the parameter idle has no part"):
        gradients(subject_of("decoders", Idle))
