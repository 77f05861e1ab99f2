"""Where the ImageNet weights are published, and how their keys are named."""

from __future__ import annotations

import re

from segkit.api import Normalization, PublishedWeights

IMAGENET = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

PUBLISHED = {
    "densenet121": PublishedWeights("timm/densenet121.ra_in1k", licence="Apache-2.0"),
    "densenet161": PublishedWeights("timm/densenet161.tv_in1k", licence="Apache-2.0"),
    "densenet169": PublishedWeights("timm/densenet169.tv_in1k", licence="Apache-2.0"),
    "densenet201": PublishedWeights("timm/densenet201.tv_in1k", licence="Apache-2.0"),
}

_KEY = re.compile(r"(?:(?:module|model|encoder|backbone)\.)*features[._](?P<rest>.+)")
# Files from before torchvision 0.3 number the halves of a dense layer `norm.1`, `conv.2`.
_OLD_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


def encoder_key(key: str) -> str | None:
    """The encoder's name for a key of a torchvision, timm or SMP file; None for the classifier.

    Wrappers such as `module.` and `encoder.` in front are dropped; timm's feature extractors write
    `features_conv0` for `features.conv0`.
    """
    match = _KEY.fullmatch(key)
    return None if match is None else _OLD_LAYER.sub(r"\1\2.", f"features.{match['rest']}")
