"""What upsamplers refuse, and in which words."""

from __future__ import annotations

import pytest
import torch
from segkit_upsamplers import UPSAMPLERS, segkit_upsampler

import segkit
from segkit.api import UsageError


def refusal(
    name: str, in_channels: int = 8, out_channels: int = 4, scale: int = 2, **options
) -> str:
    with pytest.raises(UsageError) as caught:
        UPSAMPLERS[name](in_channels, out_channels, scale, **options)
    return str(caught.value)


@pytest.mark.parametrize("name", UPSAMPLERS)
@pytest.mark.parametrize("scale", [0, 1, 3, 6])
def test_a_scale_that_is_no_power_of_two_is_refused(name, scale):
    assert refusal(name, scale=scale) == (
        f"SK-C007: the upsampler '{name}' was asked to enlarge {scale} times.\n"
        "         The scale is a power of two from 2 on: choose a decoder that asks for one."
    )


def test_max_unpooling_undoes_one_pooling_only():
    assert refusal("max_unpool", scale=4) == (
        "SK-C007: max_unpool undoes one 2x2 pooling, and the decoder asks for a scale of 4.\n"
        "         Choose a decoder that enlarges level by level, such as segnet or unet, over an "
        "encoder whose strides double, or another upsampler."
    )


def test_max_unpooling_without_indices_is_refused():
    with pytest.raises(UsageError) as caught:
        UPSAMPLERS["max_unpool"](8, 4, 2)(torch.randn(1, 8, 3, 3), (6, 6))
    assert str(caught.value) == (
        "SK-C007: max_unpool was called without pooling indices.\n"
        "         Choose a decoder and an encoder that hand them on, such as segnet over vgg16_bn."
    )


def test_indices_of_another_map_are_refused():
    index_BCHW = torch.zeros(1, 8, 3, 3, dtype=torch.int64)
    with pytest.raises(UsageError) as caught:
        UPSAMPLERS["max_unpool"](8, 4, 2)(torch.randn(1, 8, 3, 3), (6, 6), index_BCHW)
    assert str(caught.value) == (
        "SK-C007: max_unpool was given pooling indices of shape (1, 8, 3, 3) for a map of shape "
        "(1, 4, 3, 3).\n"
        "         Both have the channels and the size of the level that was pooled."
    )


@pytest.mark.parametrize(
    "name", ["nearest", "max_unpool", "bed_of_nails", "pixel_shuffle", "carafe"]
)
def test_a_kernel_without_a_centre_is_refused(name):
    assert refusal(name, kernel=4) == (
        f"SK-C006: {name}: option 'kernel' cannot be 4.\n"
        "         It is an odd number, such as 3, so that the kernel has a centre."
    )


def test_no_convolution_cannot_change_the_channels():
    assert refusal("bilinear", kernel=0) == (
        "SK-C007: bilinear: kernel=0 cannot turn 8 channels into 4, as the decoder asks.\n"
        "         Use kernel=1, the cheapest convolution."
    )


@pytest.mark.parametrize(
    ("options", "option", "least"),
    [({"stride": 1}, "stride", 2), ({"kernel": 0}, "kernel", 1)],
)
def test_transposed_options_below_their_least_value_are_refused(options, option, least):
    assert refusal("transposed", **options) == (
        f"SK-C006: transposed: option '{option}' cannot be {options[option]}.\n"
        f"         It is at least {least}."
    )


def test_a_padding_that_leaves_nothing_of_a_pixel_is_refused():
    assert refusal("transposed", kernel=4, padding=2) == (
        "SK-C006: transposed: option 'padding' cannot be 2 with a kernel of 4.\n"
        "         It is between 0 and 1, or one pixel would leave nothing."
    )


def test_a_scale_that_the_stride_does_not_reach_is_refused():
    assert refusal("transposed", scale=8, stride=4) == (
        "SK-C007: transposed: the decoder asks for a scale of 8, which steps of 4 miss.\n"
        "         Use stride=2, of which every scale is made, or stride=scale for a single step."
    )


def test_dysample_refuses_channels_that_do_not_split():
    assert refusal("dysample", in_channels=6, style="pl") == (
        "SK-C007: dysample: style=pl splits channels by four, and the map has 6.\n"
        "         Use style=lp, which takes any number."
    )


@pytest.mark.parametrize(
    ("name", "option"), [("carafe", "compressed_channels"), ("dysample", "groups")]
)
def test_counts_are_at_least_1(name, option):
    assert refusal(name, **{option: 0}) == (
        f"SK-C006: {name}: option '{option}' cannot be 0.\n         It is at least 1."
    )


def test_a_mistyped_option_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="transposed has no option 'kernal'"):
        segkit.build_model("unet", "unet", "transposed(kernal=3)", num_classes=2)


def test_unknown_names_are_left_to_others():
    assert segkit_upsampler("lanczos") is None
