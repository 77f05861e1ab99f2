"""The VGG encoders against torchvision's and timm's layers with the same weights."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from segkit_unet.vgg import ENCODERS, PUBLISHED
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from segkit import SegkitError

COLUMNS = {"vgg11_bn": "A", "vgg13_bn": "B", "vgg16_bn": "D", "vgg19_bn": "E"}


def torchvisions(name: str) -> nn.Sequential:
    """torchvision's convolutional layers, without the hundred million weights behind them."""
    torch.manual_seed(0)
    layers = make_layers(cfgs[COLUMNS[name]], batch_norm=True).eval()
    for module in layers.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return layers


def tapped(layers: nn.Sequential, image_BCHW: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """What goes into each pooling, and what comes out last; the indices."""
    maps, indices, x_BCHW = [], [], image_BCHW
    for layer in layers:
        if isinstance(layer, nn.MaxPool2d):
            maps.append(x_BCHW)
            x_BCHW, index_BCHW = nn.MaxPool2d(2, 2, return_indices=True)(x_BCHW)
            indices.append(index_BCHW)
        else:
            x_BCHW = layer(x_BCHW)
    return [*maps, x_BCHW], indices


@torch.no_grad()
@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_same_weights_give_torchvisions_maps_and_indices(name, tmp_path):
    theirs = torchvisions(name)
    file = tmp_path / "w.safetensors"
    save_file({f"features.{key}": value for key, value in theirs.state_dict().items()}, file)
    ours = ENCODERS[name](in_channels=3, weights=str(file)).eval()
    image_BCHW = torch.rand(1, 3, 32, 64)
    maps, indices = tapped(theirs, image_BCHW)
    given = ours(image_BCHW)
    for our_BCHW, their_BCHW in zip(given.maps, maps, strict=True):
        torch.testing.assert_close(our_BCHW, their_BCHW)
    for our_BCHW, their_BCHW in zip(given.pool_indices, indices, strict=True):
        assert torch.equal(our_BCHW, their_BCHW)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    assert ours.strides == (1, 2, 4, 8, 16, 32)


@torch.no_grad()
def test_timms_extractor_has_the_same_keys_and_maps(tmp_path):
    theirs = timm.create_model("vgg13_bn", features_only=True).eval()
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    ours = ENCODERS["vgg13_bn"](in_channels=3, weights=str(tmp_path / "w.safetensors")).eval()
    image_BCHW = torch.rand(1, 3, 32, 64)
    for our_BCHW, their_BCHW in zip(ours(image_BCHW).maps, theirs(image_BCHW), strict=True):
        torch.testing.assert_close(our_BCHW, their_BCHW)


@pytest.mark.parametrize("depth", [2, 5, 6])
def test_a_shallow_encoder_is_built_of_what_it_uses(depth):
    encoder = ENCODERS["vgg11_bn"](in_channels=1, weights="none", depth=depth)
    given = encoder(torch.rand(1, 1, 32, 64))
    given.maps[-1].square().mean().backward()
    assert len(given.maps) == len(encoder.channels) == depth == len(given.pool_indices) + 1
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


def test_published_weights_are_found_where_they_were_put_by_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGKIT_WEIGHTS", str(tmp_path))
    state = torchvisions("vgg11_bn").state_dict()
    state = {f"features.{key}": value for key, value in state.items()}
    save_file({**state, "classifier.0.weight": torch.zeros(1)}, PUBLISHED["vgg11_bn"].local_path)
    grey = ENCODERS["vgg11_bn"](in_channels=1, weights="imagenet", depth=3)
    folded = state["features.0.weight"].sum(dim=1, keepdim=True)
    assert torch.equal(grey.features[0].weight, folded)


def test_another_networks_file_is_refused(tmp_path):
    file = tmp_path / "w.safetensors"
    save_file({f"features.{k}": v for k, v in torchvisions("vgg16_bn").state_dict().items()}, file)
    with pytest.raises(SegkitError, match="does not fit vgg11_bn") as refusal:
        ENCODERS["vgg11_bn"](in_channels=3, weights=str(file))
    assert refusal.value.code == "SK-W002"
