"""The encoders against torchvision's and timm's models with the same weights."""

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from segkit_densenet.encoder import ENCODERS
from torch import Tensor, nn
from torch.nn import functional as F

import segkit
from segkit.api import UsageError

pytestmark = pytest.mark.integration

NAMES = sorted(ENCODERS)


def excite(network: nn.Module) -> None:
    """Gives every norm statistics and weights of its own, so that no slip hides behind 0 and 1."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            with torch.no_grad():
                module.weight.uniform_(0.8, 1.2, generator=generator)
                module.bias.uniform_(-0.2, 0.2, generator=generator)


def example(channels: int = 3, size: tuple[int, int] = (64, 96)) -> Tensor:
    return torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(0))


def torchvision_maps(network: nn.Module, image_BCHW: Tensor) -> list[Tensor]:
    """What flows out of the stem's and each transition's ReLU, and the last ReLU."""
    maps: list[Tensor] = []
    parts = network.features
    for relu in (parts.relu0, *(getattr(parts, f"transition{i}").relu for i in (1, 2, 3))):
        relu.register_forward_hook(lambda module, given, result: maps.append(result.clone()))
    last_BCHW = parts(image_BCHW)
    return [*maps, F.relu(last_BCHW)]


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_same_weights_give_torchvisions_maps_and_logits(name, tmp_path):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)().eval()
    excite(theirs)
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    ours = ENCODERS[name](in_channels=3, weights=str(tmp_path / "w.safetensors")).eval()
    image_BCHW = example()
    maps = ours(image_BCHW).maps
    for our_BCHW, their_BCHW in zip(maps, torchvision_maps(theirs, image_BCHW), strict=True):
        torch.testing.assert_close(our_BCHW, their_BCHW, rtol=1e-5, atol=1e-5)
    logits_BK = theirs.classifier(maps[-1].mean(dim=(2, 3)))
    torch.testing.assert_close(logits_BK, theirs(image_BCHW), rtol=1e-5, atol=1e-5)
    ours_count = sum(p.numel() for p in ours.parameters())
    assert ours_count == sum(p.numel() for p in theirs.features.parameters())
    assert ours.channels == tuple(m.shape[1] for m in maps)
    assert ours.strides == (2, 4, 8, 16, 32)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_same_weights_give_timms_logits(name, tmp_path):
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=7).eval()
    excite(theirs)
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    ours = ENCODERS[name](in_channels=3, weights=str(tmp_path / "w.safetensors")).eval()
    image_BCHW = example()
    logits_BK = theirs.classifier(ours(image_BCHW).maps[-1].mean(dim=(2, 3)))
    torch.testing.assert_close(logits_BK, theirs(image_BCHW), rtol=1e-5, atol=1e-5)


def test_training_updates_the_statistics_as_torchvision_does():
    torch.manual_seed(0)
    theirs = torchvision.models.densenet121()
    ours = ENCODERS["densenet121"](in_channels=3, weights="none")
    state = {k: v for k, v in theirs.state_dict().items() if not k.startswith("classifier")}
    ours.load_state_dict(state)
    image_BCHW = example()
    ours(image_BCHW)
    theirs(image_BCHW)
    after = theirs.state_dict()
    for key, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, after[key], rtol=1e-5, atol=1e-6, msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_no_skip_is_negative(name):
    for map_BCHW in ENCODERS[name](in_channels=3, weights="none", depth=4)(example()).maps:
        assert map_BCHW.min() == 0


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_every_parameter_of_a_shallow_encoder_gets_a_gradient(depth):
    encoder = ENCODERS["densenet121"](in_channels=3, weights="none", depth=depth)
    maps = encoder(example()).maps
    maps[-1].square().mean().backward()
    assert len(maps) == len(encoder.channels) == len(encoder.strides) == depth
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


@torch.no_grad()
@pytest.mark.parametrize("depth", [1, 3])
def test_a_shallow_encoder_gives_the_deep_ones_first_maps(depth):
    deep = ENCODERS["densenet121"](in_channels=3, weights="none").eval()
    shallow = ENCODERS["densenet121"](in_channels=3, weights="none", depth=depth).eval()
    deep_state = deep.state_dict()
    shallow.load_state_dict({key: deep_state[key] for key in shallow.state_dict()})
    for ours_BCHW, theirs_BCHW in zip(shallow(example()).maps, deep(example()).maps, strict=False):
        assert torch.equal(ours_BCHW, theirs_BCHW)


@pytest.mark.parametrize("in_channels", [1, 4, 7])
def test_any_number_of_channels(in_channels):
    encoder = ENCODERS["densenet121"](in_channels=in_channels, weights="none", depth=2)
    assert encoder(example(in_channels)).maps[1].shape == (2, 256, 16, 24)
    assert len(encoder.normalization.mean) == len(encoder.normalization.std) == in_channels


def test_the_image_is_not_modified():
    image_BCHW = example()
    ENCODERS["densenet121"](in_channels=3, weights="none", depth=2)(image_BCHW)
    assert torch.equal(image_BCHW, example())


def test_a_sixth_level_is_refused():
    with pytest.raises(UsageError, match="option 'depth' cannot be 6") as refusal:
        segkit.build_model("densenet121(depth=6)", num_classes=2)
    assert refusal.value.fix == "It takes 1 | 2 | 3 | 4 | 5; the default is 5."


def test_dropout_outside_0_to_1_is_refused():
    with pytest.raises(UsageError, match=r"dropout is 1\.5, which is no probability") as refusal:
        segkit.build_model("densenet121(dropout=1.5)", num_classes=2)
    assert refusal.value.fix == "Give a number from 0 (none) to below 1."
