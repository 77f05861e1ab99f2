"""The same weights give SMP's own outputs, decoder by decoder."""

import pytest
import segmentation_models_pytorch as smp
import torch

import segkit

pytestmark = pytest.mark.integration

IMAGE_BCHW = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))

# SMP's class with its options, and how the same network is written here.
PAIRS = {
    "unet": (smp.Unet, {}, "smp/resnet18", "smp/unet"),
    "unet_scse": (
        smp.Unet,
        {"decoder_attention_type": "scse", "decoder_interpolation": "bilinear"},
        "smp/resnet18",
        "smp/unet(attention=scse, interpolation=bilinear)",
    ),
    "unet_four_steps": (
        smp.Unet,
        {"encoder_depth": 4, "decoder_channels": (64, 32, 16, 8), "decoder_use_norm": False},
        "smp/resnet18(depth=4)",
        "smp/unet(widths=[64, 32, 16, 8], norm=none)",
    ),
    "unetplusplus": (smp.UnetPlusPlus, {}, "smp/resnet18", "smp/unetplusplus"),
    "manet": (smp.MAnet, {}, "smp/resnet18", "smp/manet"),
    "linknet": (smp.Linknet, {}, "smp/resnet18", "smp/linknet"),
    "fpn": (smp.FPN, {}, "smp/resnet18", "smp/fpn"),
    "pspnet": (smp.PSPNet, {}, "smp/resnet18(depth=3)", "smp/pspnet"),
    "upernet": (smp.UPerNet, {}, "smp/resnet18", "smp/upernet"),
    "segformer": (smp.Segformer, {}, "smp/resnet18", "smp/segformer"),
    "segformer_mit": (smp.Segformer, {"encoder_name": "mit_b0"}, "smp/mit_b0", "smp/segformer"),
    "unet_mit": (smp.Unet, {"encoder_name": "mit_b0"}, "smp/mit_b0", "smp/unet"),
    "unet_vgg": (smp.Unet, {"encoder_name": "vgg11"}, "smp/vgg11", "smp/unet(center=true)"),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_logits_equal_those_of_smp_for_the_same_weights(pair):
    build, options, encoder, decoder = PAIRS[pair]
    options = {"encoder_name": "resnet18", **options}
    theirs = build(**options, encoder_weights=None, classes=4)
    ours = segkit.build_model(encoder, decoder, num_classes=4)
    _randomize_statistics(theirs)
    # Levels SMP builds and never runs are left out here.
    needed = ours.encoder.network.state_dict().keys()
    state = {k: v for k, v in theirs.encoder.state_dict().items() if k in needed}
    ours.encoder.network.load_state_dict(state)
    ours.decoder.decoder.load_state_dict(theirs.decoder.state_dict())
    head = theirs.segmentation_head[0].state_dict()
    ours.head.load_state_dict(head)
    with torch.no_grad():
        expected_BKHW = theirs.eval()(IMAGE_BCHW)
        torch.testing.assert_close(ours.eval()(IMAGE_BCHW), expected_BKHW, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "build"), [("deeplabv3", smp.DeepLabV3), ("deeplabv3plus", smp.DeepLabV3Plus)]
)
@pytest.mark.parametrize("stride", [8, 16])
def test_dilated_logits_equal_those_of_smp_for_the_same_weights(name, build, stride):
    theirs = build("resnet18", encoder_weights=None, classes=3, encoder_output_stride=stride)
    ours = segkit.build_model(f"smp/resnet18(output_stride={stride})", f"smp/{name}", num_classes=3)
    ours.encoder.network.load_state_dict(theirs.encoder.state_dict())
    ours.decoder.decoder.load_state_dict(theirs.decoder.state_dict())
    ours.head.load_state_dict(theirs.segmentation_head[0].state_dict())
    with torch.no_grad():
        expected_BKHW = theirs.eval()(IMAGE_BCHW)
        torch.testing.assert_close(ours.eval()(IMAGE_BCHW), expected_BKHW, rtol=1e-4, atol=1e-5)


def test_pan_equals_smp_for_the_same_weights_and_maps():
    from segmentation_models_pytorch.decoders.pan.decoder import PANDecoder

    ours = segkit.build_model("smp/resnet18", "smp/pan", num_classes=2).eval()
    theirs = PANDecoder([3, 64, 64, 128, 256, 512], encoder_depth=5, decoder_channels=32).eval()
    theirs.load_state_dict(ours.decoder.decoder.state_dict())
    image_BCHW = torch.randn(1, 3, 256, 256)
    with torch.no_grad():
        features = ours.encoder(image_BCHW)
        expected_BCHW = theirs([image_BCHW, *features.maps])
        torch.testing.assert_close(ours.decoder(features), expected_BCHW)


def test_dpt_equals_smp_for_the_same_weights_and_maps():
    from segmentation_models_pytorch.decoders.dpt.decoder import DPTDecoder

    ours = segkit.build_model("timm/test_convnext", "smp/dpt", num_classes=2).eval()
    theirs = DPTDecoder(
        ours.encoder.channels,
        ours.encoder.strides,
        encoder_has_prefix_tokens=False,
        readout="ignore",
    ).eval()
    state = ours.decoder.decoder.state_dict()
    theirs.load_state_dict({k: v for k, v in state.items() if not k.startswith("before_head")})
    with torch.no_grad():
        features = ours.encoder(IMAGE_BCHW)
        expected_BCHW = ours.decoder.decoder.before_head(theirs(list(features.maps), [None] * 4))
        torch.testing.assert_close(ours.decoder(features), expected_BCHW)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "efficientnet-b0", "densenet121"])
def test_encoder_maps_equal_those_of_smp(name):
    theirs = smp.encoders.get_encoder(name, weights=None).eval()
    ours = segkit.build_model(f"smp/{name}", "smp/unet", num_classes=2).encoder.eval()
    state = theirs.state_dict()
    ours.network.load_state_dict({k: state[k] for k in ours.network.state_dict()})
    with torch.no_grad():
        for mine, other in zip(ours(IMAGE_BCHW).maps, theirs(IMAGE_BCHW)[1:], strict=True):
            torch.testing.assert_close(mine, other)


def _randomize_statistics(model: torch.nn.Module) -> None:
    """Normalisation that does something: a fresh one hides swapped layers."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
