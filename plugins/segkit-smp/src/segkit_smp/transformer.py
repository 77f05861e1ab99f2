"""SMP's DPT decoder over the maps of any encoder."""

from __future__ import annotations

from collections.abc import Sequence

from segmentation_models_pytorch.decoders.dpt.decoder import DPTDecoder
from torch import Tensor, nn


class DensePredictionDecoder(DPTDecoder):  # type: ignore[misc]
    """SMP's DPT decoder with its key names, and its head but for the classifier."""

    def __init__(
        self,
        *,
        encoder_out_channels: Sequence[int],
        encoder_output_strides: Sequence[int],
        intermediate_channels: Sequence[int],
        fusion_channels: int,
    ) -> None:
        super().__init__(
            encoder_out_channels=encoder_out_channels,
            encoder_output_strides=encoder_output_strides,
            encoder_has_prefix_tokens=False,
            readout="ignore",
            intermediate_channels=intermediate_channels,
            fusion_channels=fusion_channels,
        )
        self.before_head = nn.Sequential(
            nn.Conv2d(fusion_channels, fusion_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(fusion_channels),
            nn.ReLU(inplace=True),
            nn.Dropout(p=0.1),
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        # The first two are the empty maps of strides 1 and 2.
        used = maps[2:]
        decoded_BCHW: Tensor = super().forward(used, [None] * len(used))
        before_BCHW: Tensor = self.before_head(decoded_BCHW)
        return before_BCHW
