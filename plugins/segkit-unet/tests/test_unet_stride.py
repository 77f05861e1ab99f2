"""`unet(stride=2)`: squares of pixels become channels, and all else is as at full resolution."""

import pytest
import torch
from safetensors.torch import save_file

import segkit
from segkit import SegkitError
from segkit.api import UsageError

HALF = "unet(output_stride=2, width=2)"


def half(
    decoder: str = HALF, upsampler: str = "bilinear", weights: str = "none", **options
) -> segkit.SegmentationModel:
    given = {"depth": 3, "width": 4, "stride": 2, **options}
    return segkit.build_model(
        "unet", decoder, upsampler, num_classes=3, weights=weights, encoder_options=given
    ).eval()


@pytest.mark.parametrize("stride", [2, 4])
def test_a_square_of_pixels_becomes_channels_of_one(stride):
    model, seen = half(stride=stride), []
    model.encoder.levels[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    image_BCHW = torch.randn(2, 3, 16 * stride, 32)
    features = model.encoder(image_BCHW)
    for channel in range(3):
        for y in range(stride):
            for x in range(stride):
                place = (channel * stride + y) * stride + x
                expected_BHW = image_BCHW[:, channel, y::stride, x::stride]
                assert torch.equal(seen[0][:, place], expected_BHW)
    assert model.encoder.strides == (stride, 2 * stride, 4 * stride)
    shapes = [tuple(each.shape[1:]) for each in features.maps]
    assert shapes == [(4, 16, 32 // stride), (8, 8, 16 // stride), (16, 4, 8 // stride)]


@pytest.mark.parametrize("decoder", [HALF, "unet", "fcn", "linear"])
@pytest.mark.parametrize("size", [(1, 1), (37, 50), (64, 16)])
def test_logits_are_as_large_as_any_image(decoder, size):
    assert half(decoder)(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_convolutions_without_padding_are_made_up_for():
    model = half("unet(output_stride=2, width=2, padding=valid)", padding="valid")
    assert model(torch.rand(1, 3, 37, 50)).shape == (1, 3, 37, 50)


def test_unpooling_puts_back_what_was_pooled_and_nothing_beyond_it():
    assert half(upsampler="max_unpool")(torch.rand(1, 3, 32, 32)).shape == (1, 3, 32, 32)
    with pytest.raises(UsageError, match="SK-C007"):
        half("unet", "max_unpool")


def test_weights_of_another_stride_are_refused_and_not_folded(tmp_path):
    whole = segkit.build_model("unet(depth=3, width=4)", num_classes=3)
    save_file(whole.encoder.state_dict(), tmp_path / "whole.safetensors")
    with pytest.raises(SegkitError, match="SK-W002"):
        half(weights=str(tmp_path / "whole.safetensors"))
