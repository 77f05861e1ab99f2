"""Weights for timm's networks: files and published ones, converted by timm, checked here."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from segkit_timm.encoder import encoder_factory

import segkit


@pytest.fixture
def saved(tmp_path):
    """Writes the tensors of timm's own model, with some changes, and returns the file."""

    def save(model, *, name="weights.safetensors", prefix="", without=(), **options):
        network = timm.create_model(model, **options)
        state = {prefix + k: v for k, v in network.state_dict().items() if k not in without}
        save_file(state, tmp_path / name)
        return network, str(tmp_path / name)

    return save


def build(model, weights, in_channels=3, **options):
    return encoder_factory(model)(in_channels=in_channels, weights=weights, **options).eval()


@pytest.mark.parametrize("model", ["test_resnet", "test_byobnet", "test_efficientnet"])
def test_the_file_of_a_classifier_fills_the_encoder(saved, model):
    theirs, file = saved(model)
    encoder = build(model, file)
    image_BCHW = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = theirs.eval().forward_intermediates(image_BCHW, intermediates_only=True)[0]
        torch.testing.assert_close(encoder(image_BCHW).maps[0], expected)


def test_position_embeddings_are_resized_to_the_size_asked_for(saved):
    theirs, file = saved("test_vit")
    encoder = build("test_vit", file, image_size=(96, 96))
    position_B = encoder.network.model.pos_embed.shape[1]
    assert position_B != theirs.pos_embed.shape[1]
    torch.testing.assert_close(
        encoder.network.model.patch_embed.proj.weight, theirs.patch_embed.proj.weight
    )


def test_one_channel_gets_the_sum_of_three(saved):
    theirs, file = saved("resnet18")
    encoder = build("resnet18", file, in_channels=1)
    torch.testing.assert_close(
        encoder.network.conv1.weight, theirs.conv1.weight.sum(dim=1, keepdim=True)
    )


def test_the_encoder_of_a_segkit_model_is_found_in_its_file(tmp_path):
    model = segkit.build_model("timm/test_resnet", num_classes=2, in_channels=2)
    segkit.save_model(model, tmp_path / "model")
    file = str(tmp_path / "model" / "model.safetensors")
    encoder = build("test_resnet", file, in_channels=2)
    for mine, other in zip(encoder.parameters(), model.encoder.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_file_that_lacks_a_tensor_is_refused_though_timm_would_skip_it(saved):
    _, file = saved("resnet18", without=("layer1.0.conv1.weight",))
    with pytest.raises(segkit.SegkitError) as caught:
        build("resnet18", file)
    assert caught.value.code == "SK-W002"
    assert "does not fit timm/resnet18 (of 120 tensors 1 are missing" in str(caught.value)
    assert "'layer1.0.conv1.weight'" in str(caught.value)


def test_a_file_of_another_model_is_refused(saved):
    _, file = saved("test_convnext")
    with pytest.raises(segkit.SegkitError, match="SK-W002"):
        build("resnet18", file)


def test_a_file_that_is_no_safetensors_file_is_refused(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"pickle")
    with pytest.raises(segkit.SegkitError, match=r"SK-W002.*is not a readable safetensors file"):
        build("resnet18", str(tmp_path / "weights.pth"))


def test_published_weights_are_taken_from_the_folder_for_files_fetched_by_hand(
    saved, tmp_path, monkeypatch
):
    monkeypatch.setenv("SEGKIT_WEIGHTS", str(tmp_path))
    theirs, _ = saved("resnet18", name="timm--resnet18.a1_in1k.safetensors")
    encoder = build("resnet18.a1_in1k", "imagenet")
    torch.testing.assert_close(encoder.network.conv1.weight, theirs.conv1.weight)


def test_a_model_without_published_weights_says_so():
    with pytest.raises(segkit.SegkitError) as caught:
        build("coatnet_0_224", "imagenet")
    assert str(caught.value) == (
        "SK-W003: no ImageNet weights are published for timm/coatnet_0_224.\n"
        "         Use --weights none, or give a safetensors file with --weights FILE."
    )


def test_the_licence_of_published_weights_is_told():
    published = build("resnet18", "none").published_weights
    assert (published.repository, published.licence) == ("timm/resnet18.a1_in1k", "apache-2.0")
