"""Losses for semantic segmentation with one rule for ignored pixels, for segkit."""

from __future__ import annotations

from segkit.api import Factory, hookimpl
from segkit_losses.overlap import Dice
from segkit_losses.pixelwise import CrossEntropy, Focal, HardPixels

LOSSES: dict[str, Factory] = {
    "ce": CrossEntropy,
    "dice": Dice,
    "focal": Focal,
    "ohem": HardPixels,
}


@hookimpl
def segkit_loss(name: str) -> Factory | None:
    return LOSSES.get(name)
