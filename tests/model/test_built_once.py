"""Weights are looked for before a network is built: where there are none, it is built once."""

import pytest
import torch
from torch import nn

import segkit
from segkit.errors import WeightsUnavailable
from segkit.model.weights import PublishedWeights


@pytest.fixture
def built(monkeypatch):
    """The convolutions that have been built since the list was last emptied."""
    made, build = [], nn.Conv2d.__init__

    def counting(self, *given, **named):
        if torch.get_default_device().type != "meta":
            made.append(self)
        build(self, *given, **named)

    def nowhere(self):
        raise WeightsUnavailable("SK-W001", "they are not here.")

    monkeypatch.setattr(nn.Conv2d, "__init__", counting)
    monkeypatch.setattr(PublishedWeights, "fetch", nowhere)
    return made


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "encoder",
    ["densenet121(depth=2)", "unet(width=4)", "vgg11_bn", "smp/resnet18", "timm/resnet18"],
)
def test_a_network_without_weights_is_built_once(encoder, built):
    counts = []
    for weights in ("none", "auto"):
        built.clear()
        segkit.build_model(encoder, num_classes=2, weights=weights)
        counts.append(len(built))
    assert counts[0] == counts[1] > 0
