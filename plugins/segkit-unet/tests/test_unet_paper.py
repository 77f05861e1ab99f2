"""The network of Ronneberger et al. 2015 and its Keras cousin: counts, sizes, mirrored borders."""

import numpy as np
import pytest
import torch
from segkit_unet import ENCODERS
from torch import Tensor, nn
from torch.nn import functional as F

import segkit

PAPER = ("unet(padding=valid, norm=none, dropout=0.5)", "unet(padding=valid, norm=none)")
KERAS = (
    "unet(norm=none, dropout=0.3, dropout_at=pools)",
    "unet(norm=none, dropout=0.3)",
    "transposed(kernel=3)",
)
WIDTHS = (64, 128, 256, 512, 1024)


def paper(**changes) -> segkit.SegmentationModel:
    """The paper's network on little: options such as depth=3 go to the encoder."""
    options = {"padding": "valid", "norm": "none", "width": 4, **changes}
    return segkit.build_model(
        "unet",
        "unet",
        "transposed",
        num_classes=2,
        in_channels=1,
        encoder_options=options,
        decoder_options={"padding": "valid", "norm": "none"},
    ).eval()


def convolution(before: int, after: int, kernel: int) -> int:
    """Weights and biases, whichever direction it goes."""
    return before * after * kernel**2 + after


def count_by_hand(in_channels: int, classes: int, *, enlarging_kernel: int) -> int:
    total, before = 0, in_channels
    for width in WIDTHS:
        total += convolution(before, width, 3) + convolution(width, width, 3)
        before = width
    for width in reversed(WIDTHS[:-1]):
        total += convolution(2 * width, width, enlarging_kernel)
        total += convolution(2 * width, width, 3) + convolution(width, width, 3)
    return total + convolution(WIDTHS[0], classes, 1)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_papers_network_has_31_030_658_parameters():
    model = segkit.build_model(*PAPER, "transposed", num_classes=2, in_channels=1)
    assert count_by_hand(1, 2, enlarging_kernel=2) == 31_030_658
    assert parameters(model) == 31_030_658


def test_the_keras_variant_has_34_513_475_parameters():
    model = segkit.build_model(*KERAS, num_classes=3, in_channels=3)
    assert count_by_hand(3, 3, enlarging_kernel=3) == 34_513_475
    assert parameters(model) == 34_513_475


def test_the_padded_network_with_batch_norm_has_31_037_698_parameters():
    # A norm's weight and bias take the place of each bias; the count of the padded PyTorch U-Nets.
    model = segkit.build_model("unet", "unet", "transposed", num_classes=2, in_channels=3)
    norms = 2 * sum(WIDTHS) + 2 * sum(WIDTHS[:-1])
    assert parameters(model) == count_by_hand(3, 2, enlarging_kernel=2) + norms == 31_037_698


def test_572_pixels_become_388_as_in_the_papers_figure_1():
    model = paper()
    sizes = []
    for step in model.decoder.steps:
        step.block.register_forward_hook(lambda m, given, result: sizes.append(result.shape[-1]))
    with torch.no_grad():
        features = model.encoder(torch.rand(1, 1, 572, 572))
        model.decoder(features)
    assert [map_BCHW.shape[-1] for map_BCHW in features.maps] == [568, 280, 136, 64, 28]
    assert sizes == [52, 100, 196, 388]
    assert model.encoder.margins == (2, 6, 14, 30, 62)
    assert model.margin == 92 == (572 - 388) // 2


@torch.no_grad()
@pytest.mark.parametrize(
    "options, size",
    [
        ({"depth": 3}, (41, 50)),
        ({"depth": 3, "conv": "atrous"}, (70, 53)),
        ({"depth": 5}, (37, 20)),  # smaller than the margin: mirrored more than once
    ],
)
def test_logits_equal_those_of_the_bare_network_on_a_mirrored_image(options, size):
    decoder_options = {"conv": options["conv"]} if "conv" in options else {}
    model = segkit.build_model(
        "unet(padding=valid, norm=none, width=4)",
        "unet(padding=valid, norm=none)",
        "transposed",
        num_classes=2,
        in_channels=1,
        encoder_options=options,
        decoder_options=decoder_options,
    ).eval()
    image_HW = np.random.default_rng(0).random(size, dtype=np.float32)
    deepest, margin = model.encoder.strides[-1], model.margin
    # Wider by whole strides than the model itself pads: a pixel must not see how wide.
    around = [
        (margin, margin + (-(side + 2 * (margin - model.encoder.margins[-1]))) % deepest + deepest)
        for side in size
    ]
    mirrored_HW = np.pad(image_HW, around, mode="reflect")
    bare_BKHW = model.head(model.decoder(model.encoder(torch.from_numpy(mirrored_HW)[None, None])))
    logits_BKHW = model(torch.from_numpy(image_HW)[None, None])
    assert logits_BKHW.shape == (1, 2, *size)
    torch.testing.assert_close(
        logits_BKHW, bare_BKHW[..., : size[0], : size[1]], rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def test_a_tile_with_its_surroundings_gives_what_the_whole_image_gives():
    model = paper(depth=3)
    image_BCHW = torch.rand(1, 1, 148, 148)
    whole_BKHW = model.head(model.decoder(model.encoder(image_BCHW)))
    part_BKHW = model.head(model.decoder(model.encoder(image_BCHW[..., 16:104, 32:120])))
    side = part_BKHW.shape[-1]
    torch.testing.assert_close(part_BKHW, whole_BKHW[..., 16 : 16 + side, 32 : 32 + side])


def written_out(state: dict[str, Tensor], image_BCHW: Tensor, levels: int) -> Tensor:
    """The paper's equations one by one, from the weights alone, without a module."""

    def double(x_BCHW: Tensor, name: str) -> Tensor:
        for place in (0, 2):
            weight, bias = state[f"{name}.{place}.weight"], state[f"{name}.{place}.bias"]
            x_BCHW = F.conv2d(x_BCHW, weight, bias).clamp(min=0)
        return x_BCHW

    copies, x_BCHW = [], image_BCHW
    for level in range(levels):
        if level:
            x_BCHW = F.max_pool2d(x_BCHW, 2)
        x_BCHW = double(x_BCHW, f"encoder.levels.{level}")
        copies.append(x_BCHW)
    for step, copy_BCHW in enumerate(reversed(copies[:-1])):
        enlarging = [k for k in state if k.startswith(f"decoder.steps.{step}.upsampler.")]
        weight, bias = (state[next(k for k in enlarging if k.endswith(e))] for e in ("ight", "ias"))
        x_BCHW = F.conv_transpose2d(x_BCHW, weight, bias, stride=2)
        cut = (copy_BCHW.shape[-1] - x_BCHW.shape[-1]) // 2
        x_BCHW = torch.cat([copy_BCHW[..., cut:-cut, cut:-cut], x_BCHW], dim=1)
        x_BCHW = double(x_BCHW, f"decoder.steps.{step}.block")
    return F.conv2d(x_BCHW, state["head.weight"], state["head.bias"])


@torch.no_grad()
def test_the_network_equals_the_papers_equations_written_out_in_float64():
    model = paper()
    image_BCHW = torch.rand(1, 1, 204, 204, dtype=torch.float64)
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    ours_BKHW = model.head(model.decoder(model.encoder(image_BCHW.float())))
    theirs_BKHW = written_out(state, image_BCHW, levels=5)
    assert ours_BKHW.shape == (1, 2, 20, 20)
    torch.testing.assert_close(ours_BKHW.double(), theirs_BKHW, rtol=1e-4, atol=1e-5)


def test_weights_start_as_he_says_and_biases_at_zero():
    torch.manual_seed(0)
    encoder = ENCODERS["unet"](in_channels=3, weights="none", norm="none")
    second = encoder.levels[2][2]
    assert second.weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)
    assert second.bias.abs().max() == 0


def zeros_into(module: nn.Module, model: nn.Module, image_BCHW: Tensor) -> float:
    """The share of zeros in what a module is given."""
    seen = []
    handle = module.register_forward_pre_hook(
        lambda m, given: seen.append((given[0] == 0).float().mean().item())
    )
    model(image_BCHW)
    handle.remove()
    return seen[0]


@torch.no_grad()
@pytest.mark.parametrize("place", ["after pooling", "after concatenation"])
def test_the_keras_variant_drops_three_in_ten(place):
    torch.manual_seed(0)
    encoder, decoder, upsampler = (text.replace("norm", "width=8, norm", 1) for text in KERAS)
    decoder = decoder.replace("width=8, ", "")
    model = segkit.build_model(encoder, decoder, upsampler, num_classes=3)
    module = model.encoder.levels[1] if place == "after pooling" else model.decoder.steps[-1].block
    image_BCHW = torch.rand(2, 3, 128, 128)
    zeros = zeros_into(module, model.eval(), image_BCHW)
    dropped = zeros_into(module, model.train(), image_BCHW)
    assert dropped == pytest.approx(zeros + 0.3 * (1 - zeros), abs=0.02)


def test_the_papers_dropout_is_at_the_end_of_the_contracting_path_only():
    torch.manual_seed(0)
    encoder = ENCODERS["unet"](in_channels=1, weights="none", width=8, dropout=0.5)
    image_BCHW = torch.rand(2, 1, 64, 64)
    first, second = encoder(image_BCHW).maps, encoder(image_BCHW).maps
    assert [torch.equal(a, b) for a, b in zip(first, second, strict=True)] == [True] * 4 + [False]


def test_over_its_own_encoder_the_decoder_has_the_papers_width():
    model = segkit.build_model("unet", "unet", "transposed", num_classes=2)
    blocks = [step.block[0].out_channels for step in model.decoder.steps]
    assert blocks == [512, 256, 128, 64]
