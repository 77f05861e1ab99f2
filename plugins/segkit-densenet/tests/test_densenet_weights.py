"""Weights files: whose key names are understood, and what does not fit."""

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from segkit_densenet.encoder import ENCODERS
from segkit_densenet.weights import PUBLISHED, encoder_key

from segkit import SegkitError

build = ENCODERS["densenet121"]


def old(key: str) -> str:
    """As torchvision before 0.3 wrote it: norm.1, conv.2 within dense layers."""
    head, mark, tail = key.partition("denselayer")
    for part in ("norm1", "norm2", "conv1", "conv2"):
        tail = tail.replace(f".{part}.", f".{part[:4]}.{part[4]}.")
    return head + mark + tail


WRITERS = {
    "torchvision": lambda key: key,
    "old torchvision": old,
    "data parallel": lambda key: f"module.{key}",
    "segmentation-models-pytorch": lambda key: f"encoder.{key}",
    "a wrapped model": lambda key: f"module.model.{key}",
    "timm features": lambda key: f"model.{key.replace('features.', 'features_')}",
}


@pytest.mark.parametrize("writer", WRITERS)
def test_key_names_of_other_libraries_are_understood(writer, tmp_path):
    theirs = torchvision.models.densenet121().state_dict()
    save_file(
        {WRITERS[writer](key): tensor for key, tensor in theirs.items()},
        tmp_path / "w.safetensors",
    )
    for key, tensor in (
        build(in_channels=3, weights=str(tmp_path / "w.safetensors")).state_dict().items()
    ):
        assert torch.equal(tensor, theirs[key]), key


def test_timms_feature_extractor_has_the_keys_we_expect():
    theirs = timm.create_model("densenet121", features_only=True).state_dict()
    assert {encoder_key(key) for key in theirs} == set(
        build(in_channels=3, weights="none").state_dict()
    )


def test_the_classifier_and_a_decoder_are_left_out():
    assert encoder_key("classifier.weight") is None
    assert encoder_key("decoder.blocks.0.conv1.0.weight") is None


def test_published_weights_are_found_where_they_were_put_by_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGKIT_WEIGHTS", str(tmp_path))
    theirs = torchvision.models.densenet121().state_dict()
    save_file(theirs, PUBLISHED["densenet121"].local_path)
    encoder = build(in_channels=3, weights="imagenet", depth=3)
    assert torch.equal(encoder.features["conv0"].weight, theirs["features.conv0.weight"])


@torch.no_grad()
def test_a_grey_image_answers_as_its_grey_triplet(tmp_path):
    theirs = torchvision.models.densenet121().state_dict()
    save_file(theirs, tmp_path / "w.safetensors")
    grey = build(in_channels=1, weights=str(tmp_path / "w.safetensors"), depth=2).eval()
    colour = build(in_channels=3, weights=str(tmp_path / "w.safetensors"), depth=2).eval()
    image_B1HW = torch.rand(1, 1, 32, 32)
    for ours, other in zip(
        grey(image_B1HW).maps, colour(image_B1HW.expand(1, 3, 32, 32)).maps, strict=True
    ):
        torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-5)


def test_another_networks_file_is_refused_with_the_first_misfit(tmp_path):
    file = tmp_path / "w.safetensors"
    save_file(torchvision.models.densenet169().state_dict(), file)
    with pytest.raises(SegkitError, match="of 965 tensors 40 are missing") as refusal:
        ENCODERS["densenet161"](in_channels=3, weights=str(file))
    assert refusal.value.code == "SK-W002"
    assert "the file has no 'features.denseblock3.denselayer33.norm1.weight'" in refusal.value.what
