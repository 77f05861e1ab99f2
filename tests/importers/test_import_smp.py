"""Networks of segmentation-models-pytorch give the same outputs once imported."""

import pytest
import torch
from safetensors.torch import save_file

import segkit
from segkit.errors import ModelFileError, UsageError
from segkit.importers.importing import Wish, import_checkpoint

pytestmark = pytest.mark.integration

smp = pytest.importorskip("segmentation_models_pytorch")

# Between them: every architecture, encoders of SMP's own and of timm's, every option translated.
NETWORKS = [
    ("Unet", "densenet121", {"decoder_channels": (16, 8, 8, 4, 4)}),
    ("Unet", "resnet18", {"encoder_depth": 3, "decoder_channels": (16, 8, 4)}),
    ("Unet", "tu-resnet18", {"in_channels": 1, "decoder_channels": (16, 8, 8, 4, 4)}),
    ("FPN", "resnet18", {"decoder_merge_policy": "cat", "decoder_pyramid_channels": 32}),
    ("PSPNet", "resnet18", {"psp_out_channels": 32}),
    ("DeepLabV3Plus", "timm-mobilenetv3_small_100", {"decoder_channels": 32}),
]
MORE = [
    ("Unet", "vgg11_bn", {"decoder_interpolation": "bilinear"}),
    ("Unet", "resnet18", {"decoder_attention_type": "scse"}),
    ("UnetPlusPlus", "resnet18", {"decoder_use_norm": False}),
    ("MAnet", "resnet18", {"decoder_pab_channels": 16}),
    ("Linknet", "resnet18", {"in_channels": 4}),
    ("DeepLabV3", "resnet18", {"decoder_channels": 32}),
    ("DeepLabV3Plus", "resnet18", {"encoder_output_stride": 8}),
    ("PAN", "resnet18", {"encoder_depth": 4}),
    ("UPerNet", "resnet18", {"decoder_channels": 32}),
    ("Segformer", "mit_b0", {"decoder_segmentation_channels": 32}),
]


def source(architecture, encoder, options):
    torch.manual_seed(0)
    network = getattr(smp, architecture)(encoder, encoder_weights=None, classes=3, **options)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network.eval()


@pytest.mark.parametrize(
    ("architecture", "encoder", "options"),
    [*NETWORKS, *(pytest.param(*network, marks=pytest.mark.slow) for network in MORE)],
)
def test_a_saved_network_gives_the_same_logits(tmp_path, architecture, encoder, options):
    network = source(architecture, encoder, options)
    network.save_pretrained(tmp_path / "theirs")
    model = import_checkpoint(tmp_path / "theirs").model
    # SMP's PAN itself fails on smaller images.
    width = 128 if architecture == "PAN" else 96
    image_BCHW = torch.randn(1, options.get("in_channels", 3), width, width)
    with torch.no_grad():
        expected_BKHW, logits_BKHW = network(image_BCHW), model(image_BCHW)
    assert expected_BKHW.std() > 1e-4
    torch.testing.assert_close(logits_BKHW, expected_BKHW, rtol=1e-4, atol=1e-5)


def test_it_is_the_same_network_after_saving_and_loading(tmp_path):
    source("Unet", "resnet18", {}).save_pretrained(tmp_path / "theirs")
    imported = import_checkpoint(tmp_path / "theirs").model
    segkit.save_model(imported, tmp_path / "ours")
    image_BCHW = torch.randn(1, 3, 33, 47)
    with torch.no_grad():
        assert torch.equal(segkit.load_model(tmp_path / "ours")(image_BCHW), imported(image_BCHW))


@pytest.mark.parametrize("architecture", ["Unet", "FPN"])
def test_of_a_bare_state_dict_the_architecture_is_found_by_what_fits(tmp_path, architecture):
    network = source(architecture, "resnet18", {})
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    imported = import_checkpoint(tmp_path / "weights.safetensors", wish=Wish("resnet18"))
    assert imported.plan.source == f"segmentation-models-pytorch's {architecture.lower()}"
    image_BCHW = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            imported.model(image_BCHW), network(image_BCHW), rtol=1e-4, atol=1e-5
        )


def test_options_of_a_bare_state_dict_can_be_named(tmp_path):
    network = source("Unet", "resnet18", {"decoder_channels": (32, 16, 8, 8, 4)})
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    wish = Wish("resnet18", "unet(widths=[32, 16, 8, 8, 4])")
    imported = import_checkpoint(tmp_path / "weights.safetensors", "smp", wish)
    image_BCHW = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            imported.model(image_BCHW), network(image_BCHW), rtol=1e-4, atol=1e-5
        )


def test_without_a_config_the_encoder_must_be_named(tmp_path):
    save_file(source("Unet", "resnet18", {}).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(UsageError) as caught:
        import_checkpoint(tmp_path / "weights.safetensors")
    assert caught.value.code == "SK-C011"
    assert caught.value.fix.endswith("--encoder resnet34.")


@pytest.mark.parametrize("wrong", ["resnet18", "resnet50"])
def test_another_encoder_than_it_has_is_refused(tmp_path, wrong):
    save_file(source("Unet", "resnet34", {}).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(ModelFileError) as caught:
        import_checkpoint(tmp_path / "weights.safetensors", wish=Wish(wrong, "unet"))
    assert caught.value.code == "SK-M007"
    assert f"does not fit smp/{wrong} with smp/unet" in caught.value.what
    assert caught.value.fix == "Check --encoder and --decoder against what was trained."


def test_a_classification_head_is_left_out_and_said(tmp_path):
    network = source("Unet", "resnet18", {"aux_params": {"classes": 4}})
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    imported = import_checkpoint(tmp_path / "weights.safetensors", wish=Wish("resnet18"))
    assert set(imported.plan.left_out) == {
        key for key in network.state_dict() if key.startswith("classification_head")
    }


def test_a_norm_that_segkit_does_not_build_is_refused(tmp_path):
    network = source("Unet", "resnet18", {})
    network.save_pretrained(tmp_path / "theirs")
    config = tmp_path / "theirs/config.json"
    config.write_text(config.read_text().replace('"batchnorm"', '"instancenorm"'))
    with pytest.raises(ModelFileError, match="decoder_use_norm='instancenorm'"):
        import_checkpoint(tmp_path / "theirs")


def test_dpts_head_is_refused_by_name(tmp_path):
    save_file(
        {
            "encoder.a": torch.zeros(1),
            "decoder.a": torch.zeros(1),
            "segmentation_head.head.0.weight": torch.zeros(1),
        },
        tmp_path / "weights.safetensors",
    )
    with pytest.raises(ModelFileError, match="SMP's DPT"):
        import_checkpoint(tmp_path / "weights.safetensors")


def test_a_pan_of_five_levels_is_refused_by_name(tmp_path):
    save_file(source("PAN", "resnet18", {}).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(ModelFileError, match="a PAN that joins two maps of one stride"):
        import_checkpoint(tmp_path / "weights.safetensors")


def test_an_unknown_architecture_is_refused_with_the_nearest(tmp_path):
    save_file(source("Unet", "resnet18", {}).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(UsageError, match="Did you mean 'unet'"):
        import_checkpoint(tmp_path / "weights.safetensors", wish=Wish("resnet18", "unett"))
