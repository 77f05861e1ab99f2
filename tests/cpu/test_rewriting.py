"""Networks rewritten for prediction: the same numbers, whatever they are made of."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import segkit
from segkit.cpu.convolutions import Convolution, folded
from segkit.cpu.dense_layers import BoundedConvolution, DenseLayers
from segkit.cpu.doubling import DoubledConvolution, doubled_taps
from segkit.cpu.rewriting import rewritten

pytestmark = pytest.mark.integration

CPU = torch.device("cpu")


def excite(network):
    """Gives every norm statistics of its own, so that no slip hides behind 0 and 1."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            with torch.no_grad():
                module.weight.uniform_(-1.2, 1.2, generator=generator)
                module.bias.uniform_(-0.2, 0.2, generator=generator)
    return network


def built(encoder="timm/resnet18", decoder="unet", upsampler="bilinear"):
    torch.manual_seed(0)
    model = segkit.build_model(encoder, decoder, upsampler, num_classes=5)
    return excite(model).eval()


def image(*size):
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(2))


def count(model, kind):
    return sum(isinstance(each, kind) for each in model.modules())


@torch.no_grad()
def far(found, model, image_BCHW):
    """Distance from the plain network in float64, over its norm."""
    expected = copy.deepcopy(model).double()(image_BCHW.double())
    return float((found.double() - expected).norm() / expected.norm())


NETWORKS = [
    ("densenet121", "unet", "bilinear"),
    ("timm/resnet18", "unet", "transposed"),
    ("smp/densenet121", "smp/unet", "bilinear"),
    ("timm/densenet121", "unet", "bilinear"),
    ("timm/resnet18", "smp/unet(attention=scse)", "bilinear"),
    ("timm/efficientnet_b0", "deeplabv3plus", "bilinear"),
    ("timm/convnext_atto", "unet(conv=separable)", "pixel_shuffle"),
    ("unet(width=16)", "unet", "max_unpool"),
]


@torch.no_grad()
@pytest.mark.parametrize("parts", NETWORKS, ids=lambda parts: "-".join(parts))
def test_any_network_gives_its_own_logits_up_to_rounding(parts):
    model = built(*parts)
    copied = rewritten(model, CPU, "fp32")
    assert copied is not model
    for size in ((64, 64), (45, 83)):
        image_BCHW = image(*size)
        rounding = far(model(image_BCHW), model, image_BCHW)
        assert far(copied(image_BCHW), model, image_BCHW) < max(4 * rounding, 1e-6)


@torch.no_grad()
def test_in_bfloat16_it_is_as_far_from_float64_as_autocast_is():
    model, image_BCHW = built("densenet121"), image(64, 96)
    copied = rewritten(model, CPU, "bf16")
    with torch.autocast("cpu", torch.bfloat16):
        plain, found = model(image_BCHW), copied(image_BCHW)
    kinds = (Convolution, BoundedConvolution)
    assert count(copied, kinds) >= count(model, nn.Conv2d) and not count(copied, nn.Conv2d)
    assert found.dtype == torch.bfloat16
    assert far(found, model, image_BCHW) < 1.5 * far(plain, model, image_BCHW)


def test_every_norm_behind_a_convolution_is_folded_and_no_other():
    model = built("densenet121")
    copied = rewritten(model, CPU, "fp32")
    # 3 transitions and the end have a norm that no convolution comes before or right behind.
    assert count(model, nn.BatchNorm2d) == 131
    assert count(copied, nn.BatchNorm2d) == 4
    assert count(copied, BoundedConvolution) == 58
    assert sum(each.relu for each in copied.modules() if isinstance(each, Convolution)) == 11
    assert count(rewritten(built(), CPU, "fp32"), nn.BatchNorm2d) == 0


def test_the_network_itself_stays_as_it_was():
    model = built("smp/densenet121", "smp/unet")
    before = copy.deepcopy(model.state_dict())
    kinds = [type(each) for each in model.modules()]
    copied = rewritten(model, CPU, "fp32")
    assert [type(each) for each in model.modules()] == kinds
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[key]), key
    assert all(each.requires_grad for each in model.parameters())
    assert not any(each._forward_pre_hooks for each in [*model.modules(), *copied.modules()])
    # What was not rewritten is not held twice.
    norm = "encoder.network.features.norm5"
    assert copied.get_submodule(norm).weight is model.get_submodule(norm).weight


@torch.no_grad()
def test_a_folded_norm_is_the_norm_behind_a_convolution_by_hand():
    convolution, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.0)
    convolution.weight.fill_(3.0)
    convolution.bias.fill_(1.0)
    for tensor, value in (
        (norm.running_mean, 5.0),
        (norm.running_var, 4.0),
        (norm.weight, 6.0),
        (norm.bias, 7.0),
    ):
        tensor.fill_(value)
    # 6 (3 x + 1 - 5) / 2 + 7 = 9 x - 5
    weight, bias = folded(convolution.weight, convolution.bias, norm)
    assert (weight.item(), bias.item()) == (9.0, -5.0)


@torch.no_grad()
@pytest.mark.parametrize("skip", [0, 4])
@pytest.mark.parametrize("bias", [False, True])
def test_a_map_need_not_be_doubled_to_be_convolved(skip, bias):
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(6 + skip, 7, 3, padding=1, bias=bias), nn.BatchNorm2d(7), nn.ReLU()
    )
    excite(layers).eval()
    x_BCHW, skip_BCHW = torch.randn(2, 6, 5, 3), torch.randn(2, skip, 10, 6)
    quick = DoubledConvolution.of(layers, channels=6, dtype=torch.float32)
    twice_BCHW = F.interpolate(x_BCHW.double(), scale_factor=2, mode="nearest")
    expected = layers.double()(torch.cat([twice_BCHW, skip_BCHW.double()], dim=1))
    found = quick(x_BCHW, skip_BCHW if skip else None)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_taps_of_a_doubled_map_add_up_where_they_meet_one_value():
    taps = doubled_taps(torch.arange(1.0, 10.0).reshape(1, 1, 3, 3))
    assert taps.sum() == 4 * 45
    # The 3x3 taps, flipped, four times: 9 in a corner; 9 + 8 beside it.
    assert taps[0, 0, 0].tolist() == [9, 17, 15, 7]


@torch.no_grad()
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_smps_blocks_are_replaced_only_where_they_double_by_nearest_neighbour(interpolation):
    model = built("timm/resnet18", f"smp/unet(interpolation={interpolation})")
    copied = rewritten(model, CPU, "fp32")
    assert count(copied, DoubledConvolution) == (5 if interpolation == "nearest" else 0)
    image_BCHW = image(64, 32)
    assert far(copied(image_BCHW), model, image_BCHW) < 2e-6


def dense_layers(scales=None):
    """Two layers of a dense block of three maps, and what they do, plainly.

    scales  of the first norm's channels
    """
    torch.manual_seed(0)
    layers = [
        [
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, 4, 1),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 2, 3, padding=1),
        ]
        for channels in (3, 5)
    ]
    excite(nn.ModuleList(nn.Sequential(*each) for each in layers)).eval()
    if scales:
        with torch.no_grad():
            layers[0][0].weight.copy_(torch.tensor(scales))

    def plain(x_BCHW):
        for norm, narrow, inner_norm, widen in layers:
            middle_BCHW = inner_norm.double()(narrow.double()(norm.double()(x_BCHW).relu()))
            x_BCHW = torch.cat([x_BCHW, widen.double()(middle_BCHW.relu())], dim=1)
        return x_BCHW

    return layers, plain


@torch.no_grad()
@pytest.mark.parametrize("scales", [[0.5, 1.0, 2.0], [-1.0, 0.3, -0.2], [0.0, 1e-30, 1e-9]])
def test_dense_layers_need_no_concatenation_whatever_their_norms_scale_by(scales):
    layers, plain = dense_layers(scales)
    quick = DenseLayers.of(layers, torch.float32)
    x_BCHW = torch.randn(2, 3, 6, 5)
    found = quick(x_BCHW)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), plain(x_BCHW.double()), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_norm_and_its_relu_are_bounds_by_hand():
    norm, narrow, inner_norm = nn.BatchNorm2d(2, eps=0.0), nn.Conv2d(2, 1, 1), nn.BatchNorm2d(1)
    norm.weight.copy_(torch.tensor([2.0, -3.0]))
    norm.bias.copy_(torch.tensor([4.0, 6.0]))
    bounded = BoundedConvolution(norm.eval(), narrow, inner_norm.eval(), torch.float32)
    # 2 x + 4 is positive above -2, -3 x + 6 below 2.
    assert bounded.low_C11.flatten().tolist() == [-2, -torch.inf]
    assert bounded.high_C11.flatten().tolist() == [torch.inf, 2]


def test_dense_layers_that_are_more_than_that_are_left_alone():
    for place, part in (
        (0, nn.GroupNorm(1, 3)),
        (1, nn.Conv2d(3, 4, 3)),
        (1, nn.Conv2d(3, 4, 1, stride=2)),
        (3, nn.Conv2d(4, 2, 3)),
        (3, nn.Conv2d(4, 2, 3, stride=2, padding=1)),
    ):
        layers, _ = dense_layers()
        layers[0][place] = part
        assert DenseLayers.of(layers, torch.float32) is None
    layers, _ = dense_layers()
    layers[1][2].register_forward_hook(lambda *_: None)
    assert DenseLayers.of(layers, torch.float32) is None
    assert DenseLayers.of([], torch.float32) is None


@torch.no_grad()
@pytest.mark.parametrize("encoder", ["densenet121", "smp/densenet121", "timm/densenet121"])
def test_every_dense_block_is_computed_without_concatenation(encoder):
    copied = rewritten(built(encoder), CPU, "bf16")
    assert count(copied, DenseLayers) == 4
    transitions = [each for each in copied.modules() if isinstance(each, nn.AvgPool2d)]
    assert len(transitions) == (0 if encoder == "densenet121" else 3)


@torch.no_grad()
@pytest.mark.parametrize("encoder", ["densenet121", "smp/densenet121"])
def test_a_layer_that_someone_listens_to_is_called(encoder):
    model, heard = built(encoder), []
    layer = next(each for each in model.modules() if type(each).__name__.endswith("DenseLayer"))
    layer.register_forward_hook(lambda *_: heard.append(layer))
    copied = rewritten(model, CPU, "fp32")
    heard.clear()
    assert count(copied, DenseLayers) == 3
    copied(image(32, 32))
    assert len(heard) == 1


class Twisted(nn.Module):
    """Modules whose forward is not what their children look like."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(5, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.parts = nn.Sequential(nn.Conv2d(5, 5, 3, padding=1), nn.BatchNorm2d(5))

    def forward(self, x_BCHW):
        if self.kind == "both used":
            y_BCHW = self.conv(x_BCHW)
            return self.norm(y_BCHW) + y_BCHW
        if self.kind == "norm called twice":
            return self.norm(self.norm(self.conv(x_BCHW)))
        if self.kind == "convolution called twice":
            return self.norm(self.conv(self.conv(x_BCHW)))
        if self.kind == "parts taken out":
            return self.parts[1](self.parts[0](x_BCHW).abs())
        if self.kind == "weight read":
            return self.norm(F.conv2d(x_BCHW, self.conv.weight, padding=1))
        if x_BCHW.shape[-1] > 40:  # by size
            return self.norm(self.conv(x_BCHW).abs())
        return self.norm(self.conv(x_BCHW))


KINDS = ["both used", "norm called twice", "convolution called twice", "parts taken out"]
KINDS += ["weight read", "by size"]


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_plainly_follow_is_left_alone(kind):
    model = built()
    model.decoder = nn.Sequential(model.decoder, nn.LazyConv2d(5, 1), Twisted(kind))
    model.decoder.channels, model.decoder.stride = 5, 1
    model.head = nn.Conv2d(5, 5, 1)
    model.decoder[0].stride = 1
    model(image(64, 64))
    excite(model).eval()
    copied = rewritten(model, CPU, "fp32")
    assert count(copied, nn.BatchNorm2d) >= 1
    for size in ((32, 32), (64, 64)):
        assert far(copied(image(*size)), model, image(*size)) < 2e-6


@torch.no_grad()
def test_hooks_are_heard_as_before():
    model = built()
    heard = []
    first = next(each for each in model.modules() if isinstance(each, nn.Conv2d))
    first.register_forward_hook(lambda module, given, result: heard.append(module) or 2 * result)
    copied = rewritten(model, CPU, "fp32")
    heard.clear()
    found = copied(image(32, 32))
    assert len(heard) == 1
    torch.testing.assert_close(found, model(image(32, 32)), rtol=1e-4, atol=1e-4)


class LikeADenseBlock(nn.Module):
    """It holds dense layers, and does otherwise with them."""

    def __init__(self):
        super().__init__()
        layers, self.plain = dense_layers()
        for number, layer in enumerate(layers):
            names = ("norm1", "conv1", "norm2", "conv2")
            parts = nn.ModuleDict(dict(zip(names, layer, strict=True)))
            self.add_module(f"layer{number}", parts)
        self.channels, self.stride = 7, 1

    def forward(self, x_BCHW):
        for layer in self.children():
            narrow_BCHW = layer["conv1"](layer["norm1"](x_BCHW).relu())
            new_BCHW = layer["conv2"](layer["norm2"](narrow_BCHW).relu())
            x_BCHW = torch.cat([new_BCHW, x_BCHW], dim=1)
        return x_BCHW


class LikeATransition(nn.Module):
    """Its mean is not that of its convolution."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv2d(5, 5, 1), nn.AvgPool2d(2)

    def forward(self, x_BCHW):
        return F.interpolate(self.pool(x_BCHW), self.conv(x_BCHW).shape[2:]) + self.conv(x_BCHW)


@torch.no_grad()
@pytest.mark.parametrize("part", [LikeADenseBlock, LikeATransition])
def test_a_block_that_only_looks_like_a_known_form_is_left_alone(part):
    model = built()
    before, channels = (nn.LazyConv2d(3, 1), 7) if part is LikeADenseBlock else (None, 5)
    before = before or nn.LazyConv2d(5, 1)
    model.decoder = nn.Sequential(model.decoder, before, excite(part()))
    model.decoder.channels, model.decoder.stride = channels, 1
    model.head = nn.Conv2d(channels, 5, 1)
    model(image(64, 64))
    model.eval()
    copied = rewritten(model, CPU, "fp32")
    # What surrounds it is rewritten as ever.
    assert count(copied.encoder, nn.BatchNorm2d) == 0 < count(model.encoder, nn.BatchNorm2d)
    assert far(copied(image(64, 32)), model, image(64, 32)) < 2e-6


def test_a_network_in_training_or_with_weights_that_are_no_numbers_is_left_alone():
    model = built()
    assert rewritten(model.train(), CPU, "fp32") is model
    model.eval()
    assert rewritten(model, CPU, "fp16") is model
    assert rewritten(model, torch.device("meta"), "fp32") is model
    with torch.no_grad():
        model.head.bias.fill_(torch.nan)
    assert rewritten(model, CPU, "fp32") is model
