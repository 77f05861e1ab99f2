"""torchvision's segmentation networks: DeepLabV3 over ResNet-50 and ResNet-101.

Its FCN head (3x3 convolution, then the classifier), LR-ASPP and the MobileNet backbones have no
counterpart among segkit's decoders and encoders, and are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from segkit.errors import ModelFileError
from segkit.importers.plan import Plan

# The number of blocks in the third stage tells the ResNets apart.
RESNETS = {6: "resnet50", 23: "resnet101"}
STRIDE = 8

# torchvision numbers the parts of the head, segmentation-models-pytorch names them.
HEAD = {
    "classifier.0.": "decoder.decoder.aspp.",
    "classifier.1.": "decoder.decoder.conv.",
    "classifier.2.": "decoder.decoder.bn.",
    "classifier.4.": "head.",
    "backbone.": "encoder.network.",
}
AUXILIARY = "the auxiliary classifier, which only training uses"


def recognises(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of a torchvision segmentation network."""
    parts = {key.partition(".")[0] for key in tensors}
    return {"backbone", "classifier"} <= parts <= {"backbone", "classifier", "aux_classifier"}


def plan(tensors: Mapping[str, Tensor]) -> Plan:
    """The segkit network; raises ModelFileError SK-M006 for those that it cannot represent."""
    encoder = _resnet(tensors)
    if "classifier.0.convs.0.0.weight" not in tensors:
        raise _refused("its FCN head, a 3x3 convolution before the classifier, has no counterpart")
    auxiliary = {key: AUXILIARY for key in tensors if key.startswith("aux_classifier.")}
    names = {_ours(key): key for key in tensors if key not in auxiliary}
    state = {ours: tensors[key] for ours, key in names.items()}
    return Plan(
        source=f"torchvision's deeplabv3_{encoder}",
        encoder=f"timm/{encoder}(output_stride={STRIDE})",
        decoder="smp/deeplabv3(atrous_rates=[12, 24, 36], align_corners=false)",
        upsampler="bilinear",
        num_classes=len(state["head.weight"]),
        in_channels=state["encoder.network.conv1.weight"].shape[1],
        tensors=state,
        names=names,
        left_out=auxiliary,
        # Images enter torchvision's backbone as they are, and logits are enlarged to their size.
        unpadded=True,
    )


def _resnet(tensors: Mapping[str, Tensor]) -> str:
    blocks = {m[1] for key in tensors if (m := re.match(r"backbone\.layer3\.(\d+)\.", key))}
    if len(blocks) not in RESNETS or "backbone.layer1.0.conv3.weight" not in tensors:
        raise _refused("its backbone is neither ResNet-50 nor ResNet-101")
    return RESNETS[len(blocks)]


def _ours(key: str) -> str:
    theirs = next((prefix for prefix in HEAD if key.startswith(prefix)), None)
    return key if theirs is None else HEAD[theirs] + key.removeprefix(theirs)


def _refused(why: str) -> ModelFileError:
    return ModelFileError(
        "SK-M006",
        f"this torchvision network cannot be imported: {why} in segkit.",
        "segkit imports deeplabv3_resnet50 and deeplabv3_resnet101. Of others, the backbone can "
        "serve as --weights FILE of a new training.",
    )
