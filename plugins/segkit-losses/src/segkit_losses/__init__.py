"""Losses for semantic segmentation with one rule for ignored pixels, for segkit."""

from __future__ import annotations

from segkit.api import Factory, Loss, hookimpl
from segkit_losses.border import BorderWeightedCrossEntropy
from segkit_losses.boundary import Boundary
from segkit_losses.lovasz import Lovasz
from segkit_losses.overlap import Dice, FocalTversky, Jaccard, Tversky
from segkit_losses.pixelwise import CrossEntropy, Focal, HardPixels

LOSSES: dict[str, Factory[Loss]] = {
    "ce": CrossEntropy,
    "dice": Dice,
    "focal": Focal,
    "tversky": Tversky,
    "focal_tversky": FocalTversky,
    "jaccard": Jaccard,
    "lovasz": Lovasz,
    "boundary": Boundary,
    "weighted_ce": BorderWeightedCrossEntropy,
    "ohem": HardPixels,
}


@hookimpl
def segkit_loss(name: str) -> Factory[Loss] | None:
    return LOSSES.get(name)
