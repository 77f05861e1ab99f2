"""The expansive path over encoders of every kind, imagined ones among them."""

import pytest
import torch
from segkit_unet import DECODERS, ENCODERS
from torch import Tensor, nn
from torch.nn import functional as F

import segkit
from segkit.api import Features, UsageError

unet = DECODERS["unet"]


class Fake(nn.Module):
    """An upsampler that writes down what it was built with and what it is asked for."""

    def __init__(self, *, in_channels: int, out_channels: int, scale: int, indices=False) -> None:
        super().__init__()
        self.channels, self.scale, self.needs_pool_indices = out_channels, scale, indices
        self.asked: list[tuple] = []
        self.convolution = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x_BCHW: Tensor, size: tuple, pool_indices: Tensor | None = None) -> Tensor:
        self.asked.append((size, pool_indices))
        return F.interpolate(self.convolution(x_BCHW), size=size)


def unpooling(**arguments) -> Fake:
    return Fake(**arguments, indices=True)


def features(channels, strides, height=64, width=96) -> Features:
    maps = tuple(
        torch.randn(2, c, height // s, width // s) for c, s in zip(channels, strides, strict=True)
    )
    return Features(maps, tuple(F.max_pool2d(m, 2, return_indices=True)[1] for m in maps[:-1]))


@pytest.mark.parametrize(
    "strides",
    [(2, 4, 8, 16, 32), (4, 8, 16, 32), (1, 2, 4), (1, 2, 4, 8, 16, 32), (4, 16), (16,), (1,)],
)
def test_any_levels_and_any_first_stride_end_at_full_resolution(strides):
    channels = tuple(range(5, 5 + len(strides)))
    decoder = unet(channels=channels, strides=strides, make_upsampler=Fake, width=3)
    assert decoder(features(channels, strides)).shape == (2, decoder.channels, 64, 96)
    assert decoder.stride == 1
    assert decoder.channels == (3 if strides != (1,) else 5)


@pytest.mark.parametrize("output_stride", [2, 4, 8])
def test_it_stops_at_the_output_stride(output_stride):
    channels, strides = (4, 5, 6, 7), (2, 4, 8, 16)
    decoder = unet(
        channels=channels, strides=strides, make_upsampler=Fake, output_stride=output_stride
    )
    shape = decoder(features(channels, strides)).shape
    assert decoder.stride == output_stride
    assert shape == (2, 16 * output_stride, 64 // output_stride, 96 // output_stride)


def test_each_step_asks_for_the_skips_size_channels_and_indices():
    channels, strides = (4, 5, 6), (1, 2, 4)
    decoder = unet(channels=channels, strides=strides, make_upsampler=unpooling, width=8)
    given = features(channels, strides)
    decoder(given)
    coarse, fine = (step.upsampler for step in decoder.steps)
    assert (coarse.channels, fine.channels) == (5, 4)
    assert (coarse.asked[0][0], fine.asked[0][0]) == ((32, 48), (64, 96))
    assert coarse.asked[0][1] is given.pool_indices[1]
    assert fine.asked[0][1] is given.pool_indices[0]


def test_an_upsampler_shrinks_the_channels_to_the_steps_width_unless_it_unpools():
    def built(make_upsampler) -> list[int]:
        pyramid = {"channels": (4, 5, 6), "strides": (1, 2, 4)}
        decoder = unet(**pyramid, make_upsampler=make_upsampler, width=8)
        return [step.upsampler.channels for step in decoder.steps]

    assert built(Fake) == [16, 8]
    assert built(unpooling) == [5, 4]


def test_the_skip_comes_first_in_the_concatenation():
    decoder = unet(channels=(4, 5), strides=(1, 2), make_upsampler=Fake)
    given = features((4, 5), (1, 2))
    seen = []
    decoder.steps[0].block.register_forward_pre_hook(lambda m, x: seen.append(x[0]))
    decoder(given)
    assert torch.equal(seen[0][:, :4], given.maps[0])


@pytest.mark.parametrize(
    "strides, width, due",
    [
        ((1, 2, 4, 8), None, [4 * 7, 2 * 7, 7]),
        ((2, 4, 8, 16), None, [128, 64, 32, 16]),
        ((4, 8, 16, 32), 10, [160, 80, 40, 20, 10]),
    ],
)
def test_the_width_doubles_at_every_coarser_stride(strides, width, due):
    decoder = unet(channels=(7, 8, 9, 10), strides=strides, make_upsampler=Fake, width=width)
    assert [step.block[0].out_channels for step in decoder.steps] == due


def test_an_output_stride_beyond_the_coarsest_map_is_refused():
    with pytest.raises(UsageError, match="the decoder is to end at stride 8") as refusal:
        unet(channels=(4, 5), strides=(1, 2), make_upsampler=Fake, output_stride=8)
    assert refusal.value.code == "SK-C007"
    assert (
        refusal.value.fix == "Give the decoder output_stride=2 or less, or the encoder more levels."
    )


@pytest.mark.parametrize(
    "strides, options, reason",
    [
        ((2, 4, 8), {}, "none for the step beyond the encoder's finest map"),
        ((1, 4), {}, "none for the step of factor 4"),
        ((1, 2, 4), {"padding": "valid"}, "no longer fit the indices"),
    ],
)
def test_unpooling_without_fitting_indices_is_refused(strides, options, reason):
    with pytest.raises(UsageError, match=reason) as refusal:
        unet(
            channels=(4, 5, 6)[: len(strides)],
            strides=strides,
            make_upsampler=unpooling,
            **options,
        )
    assert refusal.value.code == "SK-C007"


@pytest.mark.parametrize("norm, layer", [("batch", nn.BatchNorm2d), ("group", nn.GroupNorm)])
def test_a_norm_follows_each_convolution_and_takes_its_bias(norm, layer):
    decoder = unet(channels=(6, 12), strides=(1, 2), make_upsampler=Fake, norm=norm)
    block = decoder.steps[0].block
    assert [type(block[i]) for i in (1, 4)] == [layer, layer]
    assert block[0].bias is None


def test_norm_none_is_understood_as_it_is_typed():
    model = segkit.build_model("unet(norm=none, width=4)", "unet(norm=none)", num_classes=2)
    assert not [m for m in model.encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    assert model.record.encoder.expression.count("norm='none'") == 1


def test_separable_convolutions_have_the_counted_weights():
    def count(conv: str) -> int:
        decoder = unet(
            channels=(6, 12), strides=(1, 2), make_upsampler=Fake, norm="none", conv=conv
        )
        return sum(p.numel() for p in decoder.steps[0].block.parameters())

    # 12 channels to 6, then 6 to 6; a bias on each 6.
    assert count("standard") == count("atrous") == (12 * 6 * 9 + 6) + (6 * 6 * 9 + 6)
    assert count("separable") == (12 * 9 + 12 * 6 + 6) + (6 * 9 + 6 * 6 + 6)


@pytest.mark.parametrize("conv, reach", [("standard", 2), ("separable", 2), ("atrous", 4)])
def test_two_convolutions_reach_as_far_as_their_kind(conv, reach):
    encoder = ENCODERS["unet"](
        in_channels=1, weights="none", depth=2, width=4, conv=conv, norm="none"
    )
    for parameter in encoder.levels[0].parameters():
        nn.init.constant_(parameter, 0.1)
    image_BCHW = torch.zeros(1, 1, 16, 16, requires_grad=True)
    encoder(image_BCHW).maps[0][0, 0, 8, 8].backward()
    seen = image_BCHW.grad[0, 0].nonzero()
    assert (seen.min(), seen.max()) == (8 - reach, 8 + reach)


@pytest.mark.parametrize(
    "encoder, decoder, what, fix",
    [
        ("unet(depth=1)", "unet", "option 'depth' cannot be 1", "It is 2 to 8 levels."),
        ("unet(width=0)", "unet", "option 'width' cannot be 0", "It is at least 1."),
        ("unet(width=4)", "unet(width=-1)", "option 'width' cannot be -1", "It is at least 1."),
        (
            "unet(dropout=1)",
            "unet",
            r"option 'dropout' cannot be 1\.0, which is no probability below 1",
            "Give a number from 0 (none) to below 1.",
        ),
        (
            "unet(padding=valid)",
            "unet",
            "convolves without padding",
            "Give both the option padding=valid, or both padding=same.",
        ),
        ("unet(widht=4)", "unet", "unet has no option 'widht'", "Did you mean 'width'?"),
    ],
)
def test_what_cannot_be_is_refused_with_what_would_work(encoder, decoder, what, fix):
    with pytest.raises(UsageError, match=what) as refusal:
        segkit.build_model(encoder, decoder, num_classes=2)
    assert fix in refusal.value.fix


@torch.no_grad()
def test_the_encoders_indices_undo_its_pooling():
    encoder = ENCODERS["unet"](in_channels=3, weights="none", depth=4, width=4).eval()
    given = encoder(torch.rand(2, 3, 32, 48))
    for finer_BCHW, index_BCHW in zip(given.maps[:-1], given.pool_indices, strict=True):
        pooled_BCHW = F.max_pool2d(finer_BCHW, 2)
        found_BCHW = finer_BCHW.flatten(2).gather(2, index_BCHW.flatten(2)).view_as(pooled_BCHW)
        assert torch.equal(found_BCHW, pooled_BCHW)


def test_an_unpadded_encoder_gives_no_indices_since_the_map_they_belong_to_shrinks():
    with pytest.raises(UsageError, match="the encoder 'unet' gives none") as refusal:
        segkit.build_model(
            "unet(padding=valid)", "unet(padding=valid)", "max_unpool", num_classes=2
        )
    assert "unet (padding=same)" in refusal.value.fix


def test_its_weights_go_to_a_file_and_back(tmp_path):
    from safetensors.torch import save_file

    first = ENCODERS["unet"](in_channels=3, weights="none", depth=2, width=4)
    save_file(first.state_dict(), tmp_path / "w.safetensors")
    again = ENCODERS["unet"](
        in_channels=3, weights=str(tmp_path / "w.safetensors"), depth=2, width=4
    )
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, first.state_dict()[name])
