"""What a model may carry over from where it was trained: its pixels, its head, its resizing."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import segkit
from segkit.interfaces import Features, Normalization
from segkit.model.network import ModelRecord, Part, SegmentationModel

PART = Part("fake", "fake", "1")


class Encoder(nn.Module):
    channels, strides = (3,), (4,)
    normalization = Normalization((0.0,) * 3, (1.0,) * 3)

    def forward(self, image_BCHW):
        return Features((F.avg_pool2d(image_BCHW, 4),))


class Decoder(nn.Module):
    channels, stride = 3, 4

    def __init__(self, **attributes):
        super().__init__()
        vars(self).update(attributes)

    def forward(self, features):
        return features.maps[0]


def model(**attributes):
    return SegmentationModel(Encoder(), Decoder(**attributes), ModelRecord(PART, PART, PART, 2, 3))


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("align_corners", [False, True])
def test_the_head_and_the_resizing_are_as_the_decoder_says(kernel, align_corners):
    network = model(head_kernel=kernel, align_corners=align_corners)
    image_BCHW = torch.randn(1, 3, 12, 20)
    coarse_BKHW = F.conv2d(
        F.avg_pool2d(image_BCHW, 4), network.head.weight, network.head.bias, padding=kernel // 2
    )
    expected_BKHW = F.interpolate(
        coarse_BKHW, (12, 20), mode="bilinear", align_corners=align_corners
    )
    assert network.head.weight.shape == (2, 3, kernel, kernel)
    assert torch.allclose(network(image_BCHW), expected_BKHW, atol=1e-6)


def test_without_such_a_wish_the_head_is_1x1_and_pixels_are_areas():
    network = model()
    assert network.head.kernel_size == (1, 1)
    assert network.align_corners is False


def test_other_pixels_than_the_encoders_survive_saving(tmp_path):
    network = segkit.build_model("unet(width=4, depth=2)", num_classes=2)
    image_BCHW = torch.full((1, 3, 1, 1), 51, dtype=torch.uint8)
    network.expect_pixels(Normalization((0.0, 0.0, 0.1), (1.0, 0.5, 1.0)))
    segkit.save_model(network, tmp_path / "model")
    loaded = segkit.load_model(tmp_path / "model")
    expected = torch.tensor([0.2, 0.4, 0.1])
    assert torch.allclose(loaded.normalize(image_BCHW).flatten(), expected)
    assert loaded.record.normalization == {"mean": [0.0, 0.0, 0.1], "std": [1.0, 0.5, 1.0]}
