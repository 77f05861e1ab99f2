"""What a DenseNet is made of (Huang et al. 2017, arXiv:1608.06993), under torchvision's key names.

B batch, C channels, H W pixels; `growth` is the paper's k: the channels every dense layer adds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segkit.api import recomputed

BOTTLENECK = 4


class DenseLayer(nn.Module):
    """Norm, ReLU, 1x1, norm, ReLU, 3x3 on all maps before it: (B, growth, H, W).

    memory_efficient   keep only the result in the forward pass, and compute the layer again in the
                       backward pass (Pleiss et al. 2017, arXiv:1707.06990): memory grows linearly
                       with the layers of a block, not with their square
    dropout            probability of dropping a new value, in training
    """

    def __init__(
        self, in_channels: int, growth: int, *, memory_efficient: bool, dropout: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, BOTTLENECK * growth, kernel_size=1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * growth)
        self.conv2 = nn.Conv2d(BOTTLENECK * growth, growth, kernel_size=3, padding=1, bias=False)
        self.memory_efficient, self.dropout = memory_efficient, nn.Dropout(dropout)

    def forward(self, *maps: Tensor) -> Tensor:
        if self.memory_efficient and self.training:
            # Without randomness of its own, which the second pass would have to draw again.
            new_BCHW: Tensor = recomputed(self, *maps, call=self._new, random=False)
        else:
            new_BCHW = self._new(*maps)
        return self.dropout(new_BCHW) if self.dropout.p else new_BCHW

    def _new(self, *maps: Tensor) -> Tensor:
        narrow_BCHW = self.conv1(F.relu(self.norm1(torch.cat(maps, dim=1)), inplace=True))
        new_BCHW: Tensor = self.conv2(F.relu(self.norm2(narrow_BCHW), inplace=True))
        return new_BCHW


class DenseBlock(nn.Module):
    """Dense layers, each fed with the block's input and all layers before it: all, concatenated."""

    def __init__(
        self, in_channels: int, growth: int, layers: int, *, memory_efficient: bool, dropout: float
    ) -> None:
        super().__init__()
        for number in range(layers):
            layer = DenseLayer(
                in_channels + number * growth,
                growth,
                memory_efficient=memory_efficient,
                dropout=dropout,
            )
            self.add_module(f"denselayer{number + 1}", layer)
        self.channels = in_channels + layers * growth

    def forward(self, x_BCHW: Tensor) -> Tensor:
        maps = [x_BCHW]
        for layer in self.children():
            maps.append(layer(*maps))
        return torch.cat(maps, dim=1)


class Transition(nn.Module):
    """Norm and ReLU give the level's map; a 2x2 mean and a 1x1 to half the channels lead on.

    last   build the norm only: nothing follows
    """

    def __init__(self, in_channels: int, *, last: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = None if last else nn.Conv2d(in_channels, in_channels // 2, 1, bias=False)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        map_BCHW = F.relu(self.norm(x_BCHW), inplace=True)
        if self.conv is None:
            return map_BCHW, None
        # The paper's order, mean after convolution, gives the same at four times the products.
        return map_BCHW, self.conv(F.avg_pool2d(map_BCHW, kernel_size=2))
