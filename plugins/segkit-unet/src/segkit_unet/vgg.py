"""VGG encoders (Simonyan and Zisserman 2014, arXiv:1409.1556), with their pooling indices."""

from __future__ import annotations

import re
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from segkit.api import (
    Encoder,
    Factory,
    Features,
    Normalization,
    PublishedWeights,
    find_weights,
    load_encoder_weights,
)
from segkit_unet.checkpointing import Checkpointing
from segkit_unet.convolution import initialise

IMAGENET = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
WIDTHS = (64, 128, 256, 512, 512)
# Convolutions of each block: the paper's table 1, columns A, B, D and E.
VARIANTS: dict[str, tuple[int, ...]] = {
    "vgg11_bn": (1, 1, 2, 2, 2),
    "vgg13_bn": (2, 2, 2, 2, 2),
    "vgg16_bn": (2, 2, 3, 3, 3),
    "vgg19_bn": (2, 2, 4, 4, 4),
}
PUBLISHED = {
    name: PublishedWeights(f"timm/{name}.tv_in1k", licence="BSD-3-Clause") for name in VARIANTS
}
_KEY = re.compile(r"(?:(?:module|model|encoder|backbone)\.)*features[._](?P<rest>\d+\..+)")


class VggEncoder(Checkpointing):
    """Each block's map before its pooling, strides 1 to 16; the sixth is the last pooling's result.

    The layers are numbered as in torchvision (`features.0.weight`), the pooling layers counted in.
    """

    provides_pool_indices = True

    def __init__(self, convolutions: tuple[int, ...], *, in_channels: int, depth: int = 6) -> None:
        super().__init__()
        self.features = nn.Sequential()
        reached = in_channels
        for level, width in enumerate(WIDTHS[:depth]):
            for _ in range(convolutions[level]):
                self.features.append(nn.Conv2d(reached, width, kernel_size=3, padding=1))
                self.features.append(nn.BatchNorm2d(width))
                self.features.append(nn.ReLU(inplace=True))
                reached = width
            if level < depth - 1:
                self.features.append(nn.MaxPool2d(kernel_size=2))
        self.channels = (*WIDTHS, WIDTHS[-1])[:depth]
        self.strides = tuple(2**level for level in range(depth))
        self.normalization: Normalization = IMAGENET.for_channels(in_channels)
        initialise(self)

    def forward(self, image_BCHW: Tensor) -> Features:
        maps, pool_indices, x_BCHW = [], [], image_BCHW
        for number, block in enumerate(self._blocks()):
            if number:
                maps.append(x_BCHW)
                x_BCHW, index_BCHW = F.max_pool2d(x_BCHW, kernel_size=2, return_indices=True)
                pool_indices.append(index_BCHW)
            x_BCHW = self.run(block, x_BCHW) if len(block) else x_BCHW
        return Features((*maps, x_BCHW), tuple(pool_indices))

    def _blocks(self) -> list[nn.Sequential]:
        """What lies between the pooling layers; behind the last of them there may be nothing."""
        blocks = [nn.Sequential()]
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                blocks.append(nn.Sequential())
            else:
                blocks[-1].append(layer)
        return blocks


def encoder_key(key: str) -> str | None:
    """The encoder's name for a key of a torchvision, timm or SMP file; None for the classifier."""
    match = _KEY.fullmatch(key)
    return None if match is None else f"features.{match['rest']}"


def _factory(name: str, convolutions: tuple[int, ...]) -> Factory[Encoder]:
    def build(*, in_channels: int, weights: str, depth: Literal[2, 3, 4, 5, 6] = 6) -> VggEncoder:
        # Before anything is built: they may not be had.
        file = find_weights(name, weights, PUBLISHED[name])
        encoder = VggEncoder(convolutions, in_channels=in_channels, depth=depth)
        load_encoder_weights(
            encoder,
            str(file or "none"),
            published=PUBLISHED[name],
            name=name,
            rename=encoder_key,
            first_convolution="features.0.weight",
        )
        return encoder

    published = PUBLISHED[name]
    layers = name.removeprefix("vgg").removesuffix("_bn")
    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"""VGG-{layers} with batch norm (Simonyan and Zisserman 2014, arXiv:1409.1556).

    Each block's map before its pooling, strides 1 to 16, and what the last pooling leaves, stride
    32; the pooling indices go with them (SegNet's encoder is vgg16_bn). ImageNet weights:
    {published.repository} on the Hugging Face hub, {published.licence}.

    depth   maps to give, finest first; what lies deeper is not built
    """
    return build


ENCODERS: dict[str, Factory[Encoder]] = {name: _factory(name, v) for name, v in VARIANTS.items()}
