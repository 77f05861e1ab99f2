"""SMP's Unet for prediction: maps that are doubled by nearest neighbour are convolved undoubled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from segmentation_models_pytorch.base.modules import Attention
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder, UnetDecoderBlock
from torch import Tensor, nn

from segkit.api import DoubledConvolution
from segkit_smp.bridge import Slots, SmpDecoder

NEAREST = ("nearest", "nearest-exact")


class DoublingDecoder(SmpDecoder):
    """SMP's UnetDecoder, whose blocks double their map, join it with a skip and convolve twice."""

    decoder: Any

    def __init__(
        self, decoder: UnetDecoder, slots: Slots, strides: Sequence[int], *, deepest: int
    ) -> None:
        """deepest: channels of the encoder's last map."""
        width = decoder.blocks[-1].conv2[0].out_channels
        super().__init__(decoder, slots, strides, channels=width, stride=1, head_kernel=3)
        self.deepest = deepest

    def for_prediction(self, dtype: torch.dtype) -> SmpDecoder:
        """Itself, with quicker blocks in the place of those that allow it."""
        channels, blocks = self.deepest, self.decoder.blocks
        for place, block in enumerate(blocks):
            if type(block) is not UnetDecoderBlock:
                break
            if block.interpolation_mode in NEAREST and _is_empty(block.attention1):
                first = DoubledConvolution.of(block.conv1, channels=channels, dtype=dtype)
                if first is not None:
                    blocks[place] = DoubledBlock(block, first)
            channels = block.conv2[0].out_channels
        return self


def _is_empty(attention: nn.Module) -> bool:
    return type(attention) is Attention and type(attention.attention) is nn.Identity


class DoubledBlock(nn.Module):
    """An UnetDecoderBlock whose first convolution takes the map before it is doubled.

    block   the original, for maps that are not to be doubled, and for what follows
    """

    def __init__(self, block: Any, first: DoubledConvolution) -> None:
        super().__init__()
        self.block, self.first = block, first

    def forward(
        self,
        feature_map: Tensor,
        target_height: int,
        target_width: int,
        skip_connection: Tensor | None = None,
    ) -> Tensor:
        height, width = feature_map.shape[-2:]
        if (2 * height, 2 * width) != (target_height, target_width):
            plain: Tensor = self.block(feature_map, target_height, target_width, skip_connection)
            return plain
        first_BCHW = self.first(feature_map, skip_connection)
        result: Tensor = self.block.attention2(self.block.conv2(first_BCHW))
        return result
