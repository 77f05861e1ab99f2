"""A linear head: the encoder's coarsest map, normalised, and one weight a channel and class."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segkit.api import Features, MakeUpsampler
from segkit_unet.convolution import check_probability


class LinearDecoder(nn.Module):
    """Linear head on any encoder, as DINOv2 is judged by (Oquab et al. 2023, arXiv:2304.07193).

    Batch normalisation of the coarsest map; the model's 1x1 convolution then weighs its channels
    for each class, and the logits are enlarged. Meant for a pretrained encoder that is frozen.

    dropout   probability of dropping a channel, in training
    """

    uses_upsampler = False

    def __init__(
        self,
        *,
        channels: Sequence[int],
        strides: Sequence[int],
        make_upsampler: MakeUpsampler,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_probability("linear", "dropout", dropout)
        self.channels, self.stride = channels[-1], strides[-1]
        self.norm = nn.BatchNorm2d(self.channels)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Features) -> Tensor:
        map_BCHW: Tensor = self.dropout(self.norm(features.maps[-1]))
        return map_BCHW
