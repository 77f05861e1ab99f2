"""DenseNet encoders (Huang et al. 2017, arXiv:1608.06993), ImageNet weights through timm."""

from segkit.api import Encoder, Factory, hookimpl
from segkit_densenet.encoder import ENCODERS


@hookimpl
def segkit_encoder(name: str) -> Factory[Encoder] | None:
    return ENCODERS.get(name)
