"""SMP's encoders: levels, dilation, channels, weights."""

import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file
from segkit_smp.encoders import encoder_factory, encoder_names

import segkit

pytestmark = pytest.mark.integration


def build(name, *, in_channels=3, weights="none", **options):
    return encoder_factory(name)(in_channels=in_channels, weights=weights, **options)


def test_dilation_merges_levels_of_equal_stride_and_keeps_the_deepest():
    encoder = build("resnet18", output_stride=8)
    assert encoder.strides == (2, 4, 8)
    assert encoder.channels == (64, 64, 512)


def test_a_transformers_empty_map_is_no_level():
    encoder = build("mit_b0")
    assert encoder.strides == (4, 8, 16, 32)
    assert encoder.channels == (32, 64, 160, 256)


def test_vgg_gives_its_map_of_stride_1_too():
    assert build("vgg11").strides == (1, 2, 4, 8, 16, 32)


def test_pooling_encoders_refuse_dilation_with_the_reason():
    with pytest.raises(segkit.SegkitError) as caught:
        build("densenet121", output_stride=16)
    assert str(caught.value) == (
        "SK-C007: smp/densenet121 cannot be dilated to output_stride=16: it gets smaller by "
        "pooling.\n"
        "         Keep fewer levels instead, as depth=4 for stride 16, or choose smp/resnet18."
    )


@pytest.mark.parametrize("name", ["resnet18", "efficientnet-b0", "densenet121", "mobileone_s0"])
@pytest.mark.parametrize("depth", [3, 5])
def test_modules_that_no_level_needs_are_not_kept(name, depth):
    encoder = build(name, in_channels=1, depth=depth).train()
    maps = encoder(torch.randn(2, 1, 64, 64)).maps
    torch.stack([each.sum() for each in maps]).sum().backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in encoder_names() if "2d" not in n and "154" not in n])
def test_every_encoder_keeps_its_word_at_a_size_that_is_not_square(name):
    encoder = build(name).eval()
    with torch.no_grad():
        maps = encoder(torch.randn(1, 3, 64, 96)).maps
    expected = [
        (1, c, 64 // s, 96 // s) for c, s in zip(encoder.channels, encoder.strides, strict=True)
    ]
    assert [tuple(each.shape) for each in maps] == expected


def test_weights_of_a_file_are_loaded_and_folded_to_one_channel(tmp_path):
    theirs = smp.encoders.get_encoder("resnet18", weights=None)
    state = {**theirs.state_dict(), "fc.weight": torch.zeros(10, 512)}
    save_file(state, tmp_path / "weights.safetensors")
    ours = build("resnet18", in_channels=1, weights=str(tmp_path / "weights.safetensors"))
    torch.testing.assert_close(
        ours.network.conv1.weight, theirs.conv1.weight.sum(dim=1, keepdim=True)
    )
    torch.testing.assert_close(ours.network.layer4[1].conv2.weight, theirs.layer4[1].conv2.weight)


def test_the_encoder_of_a_whole_smp_model_is_found_in_its_file(tmp_path):
    theirs = smp.Unet("resnet18", encoder_weights=None)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    ours = build("resnet18", weights=str(tmp_path / "model.safetensors"))
    torch.testing.assert_close(ours.network.conv1.weight, theirs.encoder.conv1.weight)


def test_a_file_of_another_encoder_is_refused(tmp_path):
    theirs = smp.encoders.get_encoder("resnet34", weights=None)
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(segkit.SegkitError, match="SK-W002"):
        build("mobilenet_v2", weights=str(tmp_path / "weights.safetensors"))


def test_published_weights_are_taken_from_the_folder_for_files_fetched_by_hand(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("SEGKIT_WEIGHTS", str(tmp_path))
    theirs = smp.encoders.get_encoder("resnet18", weights=None)
    save_file(theirs.state_dict(), tmp_path / "smp-hub--resnet18.ssl.safetensors")
    ours = build("resnet18", weights="imagenet", pretrained="ssl")
    torch.testing.assert_close(ours.network.conv1.weight, theirs.conv1.weight)


def test_an_unknown_tag_is_refused_with_those_there_are():
    with pytest.raises(segkit.SegkitError) as caught:
        segkit.build_model("smp/resnet18(pretrained=imagnet)", "smp/unet", num_classes=2)
    assert caught.value.code == "SK-C006"
    assert "'imagenet' | 'ssl' | 'swsl'" in str(caught.value)


def test_the_licence_of_weights_that_may_not_be_sold_is_told():
    assert "not for commercial use" in build("mit_b0").published_weights.licence


@pytest.mark.parametrize(
    ("name", "tag", "mean"),
    [
        ("resnet18", "imagenet", (0.485, 0.456, 0.406)),
        ("efficientnet-b0", "advprop", (0.5, 0.5, 0.5)),
        ("xception", "imagenet", (0.5, 0.5, 0.5)),
    ],
)
def test_pixels_are_normalised_as_the_weights_expect(name, tag, mean):
    assert build(name, pretrained=tag).normalization.mean == mean
