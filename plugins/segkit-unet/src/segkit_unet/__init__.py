"""The U-Net (Ronneberger et al. 2015, arXiv:1505.04597) and its relatives."""

from segkit.api import Factory, hookimpl
from segkit_unet.decoder import UnetDecoder
from segkit_unet.encoder import UnetEncoder

ENCODERS: dict[str, Factory] = {"unet": UnetEncoder}
DECODERS: dict[str, Factory] = {"unet": UnetDecoder}


@hookimpl
def segkit_encoder(name: str) -> Factory | None:
    return ENCODERS.get(name)


@hookimpl
def segkit_decoder(name: str) -> Factory | None:
    return DECODERS.get(name)
