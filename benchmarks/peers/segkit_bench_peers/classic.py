"""The U-Net of Ronneberger et al. 2015 (arXiv:1505.04597) with what re-implementations changed:
padded convolutions, batch norm, transposed convolutions that halve the channels."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512, 1024)


def two_convolutions(in_channels: int, out_channels: int) -> nn.Sequential:
    """Twice: 3x3 convolution, batch norm, ReLU."""
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [
            nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class ClassicUnetNetwork(nn.Module):
    """31.0 million parameters; height and width are multiples of 16."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        pairs = list(pairwise(WIDTHS))
        self.first = two_convolutions(3, WIDTHS[0])
        self.down = nn.ModuleList(two_convolutions(few, many) for few, many in pairs)
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(many, few, 2, 2) for few, many in pairs)
        self.up = nn.ModuleList(two_convolutions(many, few) for few, many in pairs)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(WIDTHS[0], classes, 1)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        maps = [self.first(image_BCHW)]
        for block in self.down:
            maps.append(block(self.pool(maps[-1])))
        x_BCHW = maps.pop()
        for enlarge, block in zip(reversed(self.enlarge), reversed(self.up), strict=True):
            x_BCHW = block(torch.cat([maps.pop(), enlarge(x_BCHW)], dim=1))
        logits_BKHW: Tensor = self.head(x_BCHW)
        return logits_BKHW
