"""The U-Net (Ronneberger et al. 2015, arXiv:1505.04597), FCN, SegNet, DeepLabV3+, linear; VGG."""

from segkit.api import Decoder, Encoder, Factory, hookimpl
from segkit_unet.decoder import UnetDecoder
from segkit_unet.deeplab import DeepLabV3PlusDecoder
from segkit_unet.encoder import UnetEncoder
from segkit_unet.fcn import FcnDecoder
from segkit_unet.interpolating import InterpolatingUnetDecoder
from segkit_unet.linear import LinearDecoder
from segkit_unet.segnet import SegnetDecoder
from segkit_unet.vgg import ENCODERS as VGG_ENCODERS

ENCODERS: dict[str, Factory[Encoder]] = {"unet": UnetEncoder, **VGG_ENCODERS}
DECODERS: dict[str, Factory[Decoder]] = {
    "unet": UnetDecoder,
    "unet_bilinear": InterpolatingUnetDecoder,
    "fcn": FcnDecoder,
    "segnet": SegnetDecoder,
    "deeplabv3plus": DeepLabV3PlusDecoder,
    "linear": LinearDecoder,
}


@hookimpl
def segkit_encoder(name: str) -> Factory[Encoder] | None:
    return ENCODERS.get(name)


@hookimpl
def segkit_decoder(name: str) -> Factory[Decoder] | None:
    return DECODERS.get(name)
