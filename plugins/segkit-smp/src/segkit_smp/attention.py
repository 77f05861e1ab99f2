"""SMP's PAN decoder for maps of any size."""

from __future__ import annotations

from collections.abc import Sequence

from segmentation_models_pytorch.decoders.pan.decoder import FPABlock, PANDecoder
from torch import Tensor
from torch.nn import functional as F

# The block halves its map three times.
SMALLEST = 8


class PatientAttention(FPABlock):  # type: ignore[misc]
    """SMP's pyramid attention, which fails on maps below 8x8: they are padded, then cropped."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        height, width = x_BCHW.shape[-2:]
        bottom, right = max(SMALLEST - height, 0), max(SMALLEST - width, 0)
        if bottom or right:
            x_BCHW = F.pad(x_BCHW, (0, right, 0, bottom), mode="replicate")
        attended_BCHW: Tensor = super().forward(x_BCHW)
        return attended_BCHW[..., :height, :width]


class PyramidAttentionDecoder(PANDecoder):  # type: ignore[misc]
    """SMP's PAN decoder with its key names."""

    def __init__(
        self,
        *,
        encoder_channels: Sequence[int],
        encoder_depth: int,
        decoder_channels: int,
        interpolation_mode: str,
    ) -> None:
        super().__init__(encoder_channels, encoder_depth, decoder_channels, interpolation_mode)
        self.fpa = PatientAttention(encoder_channels[-1], decoder_channels)
