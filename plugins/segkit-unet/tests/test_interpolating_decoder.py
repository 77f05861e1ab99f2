"""The decoder unet_bilinear: its channels by hand, its result against a plain computation."""

import pytest
import torch
from segkit_unet.interpolating import InterpolatingUnetDecoder
from torch.nn import functional as F

import segkit
from segkit.api import Features, UsageError

CHANNELS = (4, 8, 16, 16)


def decoder(channels=CHANNELS, strides=(1, 2, 4, 8), **options):
    torch.manual_seed(0)
    return InterpolatingUnetDecoder(
        channels=channels, strides=strides, make_upsampler=None, **options
    ).eval()


def maps(channels=CHANNELS, strides=(1, 2, 4, 8), height=24, width=40):
    return Features(
        tuple(
            torch.randn(2, c, height // s, width // s)
            for c, s in zip(channels, strides, strict=True)
        )
    )


def shapes(network):
    return [[tuple(step[n].weight.shape[:2]) for n in (0, 3)] for step in network.steps]


def test_channels_fall_so_that_no_enlarging_changes_them():
    assert shapes(decoder()) == [
        [(16, 32), (8, 16)],
        [(8, 16), (4, 8)],
        [(4, 8), (4, 4)],
    ]


def test_channels_can_be_given():
    network = decoder(inner=(5, 6, 7), widths=(3, 2, 1))
    assert shapes(network) == [[(5, 32), (3, 5)], [(6, 11), (2, 6)], [(7, 6), (1, 7)]]
    assert (network.channels, network.stride) == (1, 1)


@pytest.mark.parametrize("align_corners", [True, False])
def test_a_step_is_interpolation_concatenation_and_two_convolutions(align_corners):
    network = decoder(channels=(4, 8), strides=(4, 8), align_corners=align_corners, norm="none")
    features = maps((4, 8), (4, 8))
    first, second = network.steps[0][0], network.steps[0][2]
    enlarged_BCHW = F.interpolate(
        features.maps[1], (6, 10), mode="bilinear", align_corners=align_corners
    )
    x_BCHW = torch.cat([features.maps[0], enlarged_BCHW], dim=1)
    for convolution in (first, second):
        x_BCHW = F.conv2d(x_BCHW, convolution.weight, convolution.bias, padding=1).relu()
    assert torch.allclose(network(features), x_BCHW, atol=1e-6)
    assert network.stride == 4


@pytest.mark.parametrize(
    "options", [{"inner": (5, 6)}, {"widths": (3, 2, 1, 1)}, {"inner": (0,) * 3}]
)
def test_a_wrong_number_of_channels_is_refused(options):
    with pytest.raises(UsageError) as caught:
        decoder(**options)
    [(name, values)] = options.items()
    assert caught.value.what == f"unet_bilinear: option '{name}' cannot be {list(values)}."
    assert caught.value.fix == "Over this encoder it takes 3 numbers, each at least 1."


@pytest.mark.parametrize("encoder", ["unet(width=4)", "densenet121(depth=3)"])
def test_it_works_over_any_encoder_at_odd_sizes(encoder):
    model = segkit.build_model(encoder, "unet_bilinear", num_classes=3)
    model(torch.randn(1, 3, 33, 47)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_encoder_below_it_may_keep_its_channels_at_the_end():
    model = segkit.build_model("unet(depth=3, width=4, deepest=8)", "unet_bilinear", num_classes=2)
    assert model.encoder.channels == (4, 8, 8)
    assert shapes(model.decoder) == [[(8, 16), (4, 8)], [(4, 8), (4, 4)]]
    with pytest.raises(UsageError, match="option 'deepest' cannot be 0"):
        segkit.build_model("unet(deepest=0)", num_classes=2)
