"""What an importer finds out: which segkit network a checkpoint is, and where each tensor goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from segkit.interfaces import Normalization


@dataclass(frozen=True)
class Plan:
    """A segkit network for a checkpoint from elsewhere.

    source         what the checkpoint is, in words
    encoder, decoder, upsampler   component expressions
    tensors        by segkit's name, already as segkit needs them
    names          segkit's name -> the checkpoint's
    left_out       the checkpoint's name -> why it has no place here
    normalization  the pixels it was trained on, where other than the encoder's
    unpadded       images enter at their own size: see `ModelRecord`
    notes          sentences on what a user should know
    """

    source: str
    encoder: str
    decoder: str
    upsampler: str
    num_classes: int
    in_channels: int
    tensors: Mapping[str, Tensor]
    names: Mapping[str, str]
    left_out: Mapping[str, str] = field(default_factory=dict)
    normalization: Normalization | None = None
    unpadded: bool = False
    notes: tuple[str, ...] = ()
