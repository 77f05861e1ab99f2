"""What `segkit info` measures a component with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """What a component is measured with.

    in_channels, height, width   of the image
    encoder, upsampler           what a decoder is measured between; None: the first that works
    """

    in_channels: int = 3
    height: int = 512
    width: int = 512
    encoder: str | None = None
    upsampler: str | None = None
