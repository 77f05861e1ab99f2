"""FCN, SegNet and DeepLabV3+: what each adds up, puts back and looks at."""

import pytest
import torch
from segkit_unet import DECODERS
from segkit_unet.deeplab import rates_for
from torch import Tensor, nn
from torch.nn import functional as F

import segkit
from segkit.api import Features, UsageError

FIVE = ((8, 8, 8, 8, 8), (2, 4, 8, 16, 32))
SIX = ((6, 7, 8, 9, 10, 10), (1, 2, 4, 8, 16, 32))


class Nearest(nn.Module):
    """Each pixel repeated: an upsampler without weights."""

    needs_pool_indices = False

    def __init__(self, *, in_channels: int, out_channels: int, scale: int) -> None:
        super().__init__()
        self.channels = out_channels
        self.widen = (
            nn.Conv2d(in_channels, out_channels, 1)
            if in_channels != out_channels
            else nn.Identity()
        )

    def forward(self, x_BCHW: Tensor, size: tuple, pool_indices: Tensor | None = None) -> Tensor:
        return F.interpolate(self.widen(x_BCHW), size=size)


class Unpool(Nearest):
    """Values back to where the indices say; notes the channels it is used with."""

    needs_pool_indices = True

    def forward(self, x_BCHW: Tensor, size: tuple, pool_indices: Tensor | None = None) -> Tensor:
        return F.max_unpool2d(self.widen(x_BCHW), pool_indices, 2, output_size=size)


def features(channels, strides, height=64, width=96, batch=2) -> Features:
    maps = tuple(
        torch.randn(batch, c, height // s, width // s)
        for c, s in zip(channels, strides, strict=True)
    )
    return Features(maps, tuple(F.max_pool2d(m, 2, return_indices=True)[1] for m in maps[:-1]))


def build(name: str, pyramid=FIVE, make_upsampler=Nearest, **options) -> nn.Module:
    channels, strides = pyramid
    return DECODERS[name](
        channels=channels, strides=strides, make_upsampler=make_upsampler, **options
    ).eval()


def moved(decoder: nn.Module, given: Features, level: int) -> bool:
    """Whether the result depends on that level's map."""
    maps = [m + (i == level) * torch.rand_like(m) for i, m in enumerate(given.maps)]
    return not torch.equal(decoder(given), decoder(given._replace(maps=tuple(maps))))


@torch.no_grad()
@pytest.mark.parametrize("variant, used", [("32s", [4]), ("16s", [3, 4]), ("8s", [2, 3, 4])])
def test_fcn_adds_the_maps_up_to_its_variants_stride(variant, used):
    decoder = build("fcn", variant=variant)
    for addition in decoder.additions:
        nn.init.normal_(addition.score.weight)
    given = features(*FIVE)
    assert [level for level in range(5) if moved(decoder, given, level)] == used
    assert decoder(given).shape == (2, 32, 64, 96)


@torch.no_grad()
def test_fcn_16s_is_the_enlarged_sum_of_two_scores():
    decoder = build("fcn", variant="16s", width=5)
    nn.init.normal_(decoder.additions[0].score.weight)
    given = features(*FIVE)
    coarse_BCHW = decoder.score(decoder.fully7(decoder.fully6(given.maps[4])))
    fine_BCHW = F.conv2d(
        given.maps[3], decoder.additions[0].score.weight, decoder.additions[0].score.bias
    )
    sum_BCHW = coarse_BCHW.repeat_interleave(2, 2).repeat_interleave(2, 3) + fine_BCHW
    due_BCHW = sum_BCHW.repeat_interleave(16, 2).repeat_interleave(16, 3)
    torch.testing.assert_close(decoder(given), due_BCHW)


@torch.no_grad()
def test_fcns_skips_start_at_zero_and_can_learn():
    decoder = build("fcn", variant="8s")
    assert not moved(decoder, features(*FIVE), 2)
    with torch.enable_grad():
        decoder(features(*FIVE)).square().mean().backward()
    assert all(addition.score.weight.grad.abs().sum() > 0 for addition in decoder.additions)


@pytest.mark.parametrize(
    "pyramid, fix",
    [
        (((4, 5, 6, 7, 8), (1, 2, 4, 8, 16)), "Write fcn(variant=16s), or give the encoder more"),
        (((4, 5), (1, 2)), "Choose an encoder with a map of stride 8, 16 or 32."),
    ],
)
def test_fcn_refuses_an_encoder_without_the_variants_stride(pyramid, fix):
    with pytest.raises(
        UsageError, match=r"fcn\(variant=32s\) scores a map of stride 32"
    ) as refusal:
        build("fcn", pyramid, variant="32s")
    assert refusal.value.code == "SK-C007"
    assert refusal.value.fix.startswith(fix)


@torch.no_grad()
def test_segnet_puts_each_value_where_its_maximum_was():
    decoder = build("segnet", SIX, Unpool)
    given = features(*SIX)
    seen = []
    for step in decoder.steps:
        step.block.register_forward_pre_hook(lambda m, x: seen.append(x[0]))
    assert decoder(given).shape == (2, 6, 64, 96)
    for unpooled_BCHW, finer_BCHW in zip(seen, reversed(given.maps[:-1]), strict=True):
        peaks_BCHW = finer_BCHW == F.interpolate(F.max_pool2d(finer_BCHW, 2), scale_factor=2)
        assert unpooled_BCHW.shape == finer_BCHW.shape
        assert unpooled_BCHW[~peaks_BCHW].abs().max() == 0


@torch.no_grad()
def test_segnet_takes_nothing_but_indices_from_the_finer_levels():
    decoder = build("segnet", SIX, Unpool)
    given = features(*SIX)
    assert [level for level in range(6) if moved(decoder, given, level)] == [5]


def test_segnet_over_vgg16_mirrors_its_channels():
    model = segkit.build_model("vgg16_bn", "segnet(convolutions=3)", "max_unpool", num_classes=2)
    channels = [
        [layer.out_channels for layer in step.block if isinstance(layer, nn.Conv2d)]
        for step in model.decoder.steps
    ]
    assert channels == [
        [512, 512, 512],
        [512, 512, 256],
        [256, 256, 128],
        [128, 128, 64],
        [64, 64, 64],
    ]


def test_segnet_wants_an_unpooling_upsampler():
    with pytest.raises(UsageError, match="segnet puts values back") as refusal:
        segkit.build_model("unet(width=4)", "segnet", "bilinear", num_classes=2)
    assert refusal.value.code == "SK-C007"
    assert refusal.value.fix.startswith("Give it --upsampler max_unpool and an encoder")


def test_segnet_takes_any_upsampler_where_told_to():
    decoder = build("segnet", FIVE, any_upsampler=True)
    assert decoder(features(*FIVE)).shape == (2, 8, 64, 96)


@pytest.mark.parametrize("name", ["fcn", "deeplabv3plus"])
def test_unpooling_is_refused_where_the_maps_were_not_pooled(name):
    with pytest.raises(UsageError, match=f"{name} enlarges maps that the encoder did not pool"):
        build(name, FIVE, Unpool)


@pytest.mark.parametrize(
    "stride, rates", [(8, (12, 24, 36)), (16, (6, 12, 18)), (32, (3, 6, 9)), (512, (1, 1, 1))]
)
def test_deeplabs_rates_reach_as_far_in_the_image_at_every_stride(stride, rates):
    assert rates_for(stride) == rates


@torch.no_grad()
@pytest.mark.parametrize(
    "strides, used, stride",
    [
        ((2, 4, 8, 16, 32), [1, 4], 4),
        ((4, 8, 16, 32), [0, 3], 4),
        ((1, 2), [0, 1], 1),
        ((8, 16), [0, 1], 8),
    ],
)
def test_deeplab_joins_the_map_of_stride_4_or_the_nearest(strides, used, stride):
    pyramid = ((8,) * len(strides), strides)
    decoder = build("deeplabv3plus", pyramid, width=16, low=6)
    given = features(*pyramid)
    assert [level for level in range(len(strides)) if moved(decoder, given, level)] == used
    assert decoder(given).shape == (2, 16, 64 // stride, 96 // stride)
    assert decoder.stride == stride


def test_deeplab_trains_on_a_single_image():
    decoder = build("deeplabv3plus", width=16).train()
    decoder(features(*FIVE, batch=1)).mean().backward()
    assert all(p.grad is not None for p in decoder.parameters())


def test_deeplab_sees_the_whole_image_from_every_pixel():
    decoder = build("deeplabv3plus", width=16, rates=(1, 1, 1), norm="none")
    given = features(*FIVE, height=512, width=512)
    given.maps[-1].requires_grad_()
    decoder(given)[0, :, 0, 0].sum().backward()
    assert given.maps[-1].grad[0, :, -1, -1].abs().max() > 0


@torch.no_grad()
@pytest.mark.parametrize("name", ["deeplabv3plus", "fcn", "linear"])
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_an_encoder_of_one_map_is_enough(name, stride):
    decoder = build(name, ((8,), (stride,)))
    given = features((8,), (stride,))
    assert decoder(given).shape[-2:] == (64 // decoder.stride, 96 // decoder.stride)
    assert moved(decoder, given, 0)


def test_deeplab_over_one_map_enlarges_nothing():
    decoder = build("deeplabv3plus", ((8,), (16,)), make_upsampler=Unpool, width=16)
    assert decoder.stride == 16 and not decoder.uses_upsampler


@torch.no_grad()
def test_a_linear_head_is_the_normalised_map_weighed_for_each_class():
    model = segkit.build_model("unet(width=4, depth=3)", "linear", num_classes=3).train()
    model.decoder.norm.weight.uniform_()
    model.decoder.norm.bias.uniform_()
    image_BCHW = torch.rand(2, 3, 16, 24)
    map_BCHW = model.encoder(image_BCHW).maps[-1].double()
    mean_1C11 = map_BCHW.mean((0, 2, 3), keepdim=True)
    spread_1C11 = (map_BCHW.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    shaped = (each.double()[None, :, None, None] for each in model.decoder.norm.parameters())
    scale_1C11, shift_1C11 = shaped
    normal_BCHW = (map_BCHW - mean_1C11) / spread_1C11 * scale_1C11 + shift_1C11
    weight_KC, bias_K = model.head.weight.double()[:, :, 0, 0], model.head.bias.double()
    due_BKHW = torch.einsum("kc,bchw->bkhw", weight_KC, normal_BCHW) + bias_K[:, None, None]
    found_BKhw = model(image_BCHW, enlarged=False).logits_BKhw.double()
    torch.testing.assert_close(found_BKhw, due_BKHW, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("upsampler", ["bilinear", "transposed", "max_unpool"])
@pytest.mark.parametrize("decoder", ["unet", "fcn", "segnet", "deeplabv3plus"])
@pytest.mark.parametrize("encoder", ["unet(width=4)", "vgg11_bn(depth=5)"])
def test_every_pair_takes_any_size_or_says_why_not(encoder, decoder, upsampler):
    try:
        model = segkit.build_model(encoder, decoder, upsampler, num_classes=3, in_channels=4)
    except UsageError as refusal:
        assert refusal.code == "SK-C007"
        works = ("max_unpool",) if decoder == "segnet" else ("bilinear", "transposed")
        assert upsampler not in works
        return
    logits_BKHW = model(torch.rand(2, 4, 33, 50))
    assert logits_BKHW.shape == (2, 3, 33, 50)
    logits_BKHW.square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
