"""The encoders: five feature maps, strides 2 to 32, each tapped after norm and ReLU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from segkit.api import (
    Encoder,
    Factory,
    Features,
    Normalization,
    UsageError,
    find_weights,
    load_encoder_weights,
)
from segkit_densenet.blocks import DenseBlock, DenseLayer, Transition
from segkit_densenet.weights import IMAGENET, PUBLISHED, encoder_key


@dataclass(frozen=True)
class Variant:
    """A row of the paper's table 1 (densenet161, k=48: the authors' release).

    stem     channels after the first convolution
    growth   channels every dense layer adds, the paper's k
    layers   dense layers of the four blocks
    """

    stem: int
    growth: int
    layers: tuple[int, int, int, int]


VARIANTS = {
    "densenet121": Variant(64, 32, (6, 12, 24, 16)),
    "densenet161": Variant(96, 48, (6, 12, 36, 24)),
    "densenet169": Variant(64, 32, (6, 12, 32, 32)),
    "densenet201": Variant(64, 32, (6, 12, 48, 32)),
}


class DenseNetEncoder(nn.Module):
    """Feature maps of strides 2 to 32, each tapped after norm and ReLU: no skip is negative.

    Level 0 is the stem, levels 1 to 3 are the dense blocks after the norm and ReLU of the
    transition behind them, level 4 is the last block after the final norm and ReLU. What lies
    beyond `depth` levels is not built, so every parameter gets a gradient.
    """

    def __init__(
        self,
        variant: Variant,
        *,
        in_channels: int,
        depth: int = 5,
        memory_efficient: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise UsageError(
                "SK-C006",
                f"dropout is {dropout}, which is no probability.",
                "Give a number from 0 (none) to below 1.",
            )
        self.features = nn.ModuleDict()
        self.features["conv0"] = nn.Conv2d(in_channels, variant.stem, 7, 2, padding=3, bias=False)
        self.features["norm0"] = nn.BatchNorm2d(variant.stem)
        channels, reach = [variant.stem], variant.stem
        for level in range(1, depth):
            block = DenseBlock(
                reach,
                variant.growth,
                variant.layers[level - 1],
                memory_efficient=memory_efficient,
                dropout=dropout,
            )
            self.features[f"denseblock{level}"] = block
            channels.append(block.channels)
            if level == 4:
                self.features["norm5"] = nn.BatchNorm2d(block.channels)
            else:
                transition = Transition(block.channels, last=level == depth - 1)
                self.features[f"transition{level}"] = transition
            reach = block.channels // 2
        self.channels = tuple(channels)
        self.strides = tuple(2 ** (level + 1) for level in range(depth))
        self.normalization: Normalization = IMAGENET.for_channels(in_channels)
        self._initialise()

    def forward(self, image_BCHW: Tensor) -> Features:
        parts = self.features
        stem_BCHW = F.relu(parts["norm0"](parts["conv0"](image_BCHW)), inplace=True)
        maps = [stem_BCHW]
        if len(self.channels) > 1:
            x_BCHW = F.max_pool2d(stem_BCHW, kernel_size=3, stride=2, padding=1)
        for level in range(1, len(self.channels)):
            x_BCHW = parts[f"denseblock{level}"](x_BCHW)
            if level == 4:
                maps.append(F.relu(parts["norm5"](x_BCHW), inplace=True))
            else:
                map_BCHW, x_BCHW = parts[f"transition{level}"](x_BCHW)
                maps.append(map_BCHW)
        return Features(tuple(maps))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Has every dense layer work as with memory_efficient."""
        for module in self.modules():
            if isinstance(module, DenseLayer):
                module.memory_efficient = enable

    def _initialise(self) -> None:
        # He et al. 2015, as in the paper's section 4.2; norms start at weight 1 and bias 0 anyway.
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)


def _factory(name: str, variant: Variant) -> Factory[Encoder]:
    def build(
        *,
        in_channels: int,
        weights: str,
        depth: Literal[1, 2, 3, 4, 5] = 5,
        memory_efficient: bool = False,
        dropout: float = 0.0,
    ) -> DenseNetEncoder:
        # Before anything is built: they may not be had.
        file = find_weights(name, weights, PUBLISHED[name])
        encoder = DenseNetEncoder(
            variant,
            in_channels=in_channels,
            depth=depth,
            memory_efficient=memory_efficient,
            dropout=dropout,
        )
        load_encoder_weights(
            encoder,
            str(file or "none"),
            published=PUBLISHED[name],
            name=name,
            rename=encoder_key,
            first_convolution="features.conv0.weight",
        )
        return encoder

    build.__name__ = build.__qualname__ = name
    published, layers = PUBLISHED[name], ", ".join(map(str, variant.layers))
    number = name.removeprefix("densenet")
    build.__doc__ = f"""DenseNet-{number} (Huang et al. 2017, arXiv:1608.06993).

    Blocks of {layers} layers, growth {variant.growth}. Feature maps of strides 2 to 32, each tapped
    after norm and ReLU. ImageNet weights: {published.repository} on the Hugging Face hub,
    {published.licence}.

    depth              levels to build, finest first; what lies deeper is left out
    memory_efficient   compute each dense layer again in the backward pass (Pleiss et al. 2017,
                       arXiv:1707.06990): a fifth of the memory, a tenth slower, the same results
                       up to rounding
    dropout            probability of dropping a dense layer's new values, in training (the paper:
                       0.2 where the data are not augmented)
    """
    return build


ENCODERS: dict[str, Factory[Encoder]] = {name: _factory(name, v) for name, v in VARIANTS.items()}
