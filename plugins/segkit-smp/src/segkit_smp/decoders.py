"""SMP's twelve decoders by name."""

from segkit.api import Decoder, Factory
from segkit_smp import context, symmetric

DECODERS: dict[str, Factory[Decoder]] = {
    "unet": symmetric.unet,
    "unetplusplus": symmetric.unetplusplus,
    "manet": symmetric.manet,
    "linknet": symmetric.linknet,
    "fpn": context.fpn,
    "pspnet": context.pspnet,
    "deeplabv3": context.deeplabv3,
    "deeplabv3plus": context.deeplabv3plus,
    "pan": context.pan,
    "upernet": context.upernet,
    "segformer": context.segformer,
    "dpt": context.dpt,
}
