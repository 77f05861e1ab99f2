"""SMP's DenseNets for prediction: dense blocks without concatenation, means before convolutions."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from segkit.api import DenseLayers, hooked


def dense_blocks_for_prediction(features: Any, dtype: torch.dtype) -> None:
    """Puts quicker parts in the place of those that allow it and that no one listens to.

    features   of torchvision's DenseNet, which SMP's encoder is
    """
    for name, part in features.named_children():
        if any(map(hooked, part.modules())):
            continue
        layers = list(part.children())
        if layers and all(hasattr(each, "norm2") for each in layers):
            parts = [(each.norm1, each.conv1, each.norm2, each.conv2) for each in layers]
            setattr(features, name, DenseLayers.of(parts, dtype) or part)
        elif name.startswith("transition") and type(getattr(part, "pool", None)) is nn.AvgPool2d:
            # A mean of 1x1 convolutions is the convolution of the mean, of a quarter of the pixels.
            part.conv, part.pool = nn.Sequential(part.pool, part.conv), nn.Identity()
