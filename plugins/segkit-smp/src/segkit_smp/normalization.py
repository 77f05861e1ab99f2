"""The pixel statistics of SMP's encoders, as the weights' own publications state them."""

from __future__ import annotations

from segkit.api import Normalization

IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# Chen et al. 2017 (arXiv:1707.01629): mean (124, 117, 104), scale 0.0167, in 8-bit values.
DUAL_PATH = Normalization((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3)

INCEPTION_STYLE = ("inception", "xception", "timm-tf_efficientnet_lite")


def normalization_of(name: str, tag: str) -> Normalization:
    """What the encoder's weights of this tag expect."""
    if name.startswith("dpn"):
        return DUAL_PATH
    if tag == "advprop" or name.startswith(INCEPTION_STYLE):
        return HALVES
    return IMAGENET
