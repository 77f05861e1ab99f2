"""SMP's own encoders: resnet, efficientnet, mit and more. Its `tu-` encoders are `timm/<name>`."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import torch
from segmentation_models_pytorch.encoders import encoders as REGISTRY
from torch import Tensor, nn

from segkit.api import (
    Encoder,
    Factory,
    Features,
    Normalization,
    PublishedWeights,
    UsageError,
    find_weights,
    load_encoder_weights,
)
from segkit_smp.normalization import normalization_of

# The weights files carry no licence; only this one is stated with the code.
NON_COMMERCIAL = "NVIDIA Source Code License, not for commercial use"
PROBE_SIDE = 64


class SmpEncoder(nn.Module):
    """The maps of one of SMP's encoders, without the image itself and without empty maps.

    network  SMP's module, with SMP's key names
    levels   which of SMP's maps are given, by place
    published_weights   those that --weights imagenet takes
    """

    def __init__(
        self,
        network: Any,
        levels: Sequence[int],
        strides: Sequence[int],
        normalization: Normalization,
        published_weights: PublishedWeights,
    ) -> None:
        super().__init__()
        self.published_weights = published_weights
        self.network, self.levels = network, tuple(levels)
        self.channels = tuple(int(network.out_channels[level]) for level in levels)
        self.strides = tuple(strides)
        self.normalization = normalization

    def forward(self, image_BCHW: Tensor) -> Features:
        maps = self.network(image_BCHW)
        return Features(tuple(maps[level] for level in self.levels))


@cache
def encoder_names() -> tuple[str, ...]:
    return tuple(REGISTRY)


def encoder_factory(name: str) -> Factory[Encoder]:
    """The factory of SMP's encoder `name`."""
    settings: dict[str, dict[str, str]] = REGISTRY[name]["pretrained_settings"]
    tags = tuple(settings)
    usual = "imagenet" if "imagenet" in tags else tags[0]

    def build(
        *,
        in_channels: int,
        weights: str,
        depth: Literal[1, 2, 3, 4, 5] = 5,
        output_stride: Literal[8, 16, 32] = 32,
        pretrained: str = usual,
    ) -> SmpEncoder:
        published = _published(name, settings[pretrained])
        # Before anything is built: they may not be had.
        file = find_weights(f"smp/{name}", weights, published)
        network = _network(name, depth, output_stride)
        levels, strides = _levels(name, network, output_stride)
        statistics = normalization_of(name, pretrained).for_channels(in_channels)
        trim(network)
        load_encoder_weights(
            network,
            str(file or "none"),
            published=published,
            name=f"smp/{name}",
            rename=_own_name,
        )
        # After loading: SMP folds or repeats the three published channels.
        network.set_in_channels(in_channels, pretrained=file is not None)
        return SmpEncoder(network, levels, strides, statistics, published)

    # The tags are known only here, so the annotation is written by hand: a wrong tag is refused.
    build.__annotations__["pretrained"] = Literal[tags]
    build.__name__ = build.__qualname__ = f"smp/{name}"
    build.__doc__ = f"""SMP's encoder {name} ({REGISTRY[name]["encoder"].__name__}).

    depth          levels kept, each of twice the stride of the one before
    output_stride  dilate the last stages so that the deepest stride is 8 or 16
    pretrained     which published weights --weights imagenet takes
    """
    return build


class Skipped(nn.Module):
    """In the place of a block that runs although no map that is kept depends on it."""

    def forward(self, x: Tensor, *_: object) -> Tensor:
        return x


@torch.enable_grad()
def trim(network: nn.Module) -> None:
    """Takes out what no map depends on: deeper levels and classifiers' ends."""
    training = network.training
    maps = network.eval()(torch.zeros(1, 3, PROBE_SIDE, PROBE_SIDE))
    network.train(training)
    total = torch.stack([each.sum() for each in maps if each.requires_grad]).sum()
    parameters = [each for each in network.parameters() if each.requires_grad]
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    _drop(network, {p for p, g in zip(parameters, gradients, strict=True) if g is None})


def _drop(module: nn.Module, unused: set[nn.Parameter]) -> None:
    for name, child in module.named_children():
        own = set(child.parameters())
        if own and own <= unused:
            setattr(module, name, Skipped())
        else:
            _drop(child, unused)


def _network(name: str, depth: int, output_stride: int) -> Any:
    parameters = copy.deepcopy(REGISTRY[name]["params"])
    network = REGISTRY[name]["encoder"](**{**parameters, "depth": depth, "output_stride": 32})
    if output_stride == 32:
        return network
    try:
        network.make_dilated(output_stride)
    except ValueError as error:
        raise UsageError(
            "SK-C007",
            f"smp/{name} cannot be dilated to output_stride={output_stride}: it "
            "gets smaller by pooling.",
            "Keep fewer levels instead, as depth=4 for stride 16, or choose smp/resnet18.",
        ) from error
    return network


def _levels(name: str, network: Any, output_stride: int) -> tuple[list[int], list[int]]:
    """Places in SMP's list, and their strides; of equal strides the deepest map stays."""
    # All but VGG begin with the image itself.
    first = 0 if REGISTRY[name]["encoder"].__name__ == "VGGEncoder" else 1
    level_of = {
        min(2**place, output_stride): place
        for place, channels in enumerate(network.out_channels)
        if place >= first and channels
    }
    if not level_of:
        raise UsageError(
            "SK-C006", f"smp/{name} has no map at this depth.", "Give a depth of 2 or more."
        )
    return list(level_of.values()), list(level_of)


def _published(name: str, setting: dict[str, str]) -> PublishedWeights:
    licence = NON_COMMERCIAL if name.startswith("mit_b") else "see the model card"
    return PublishedWeights(setting["repo_id"], licence, revision=setting["revision"])


def _own_name(key: str) -> str:
    """SMP's name for a tensor of a weights file, of an SMP model or of a segkit model."""
    key = key.removeprefix("encoder.").removeprefix("network.")
    # As the first DenseNet files spell it.
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.", key)
