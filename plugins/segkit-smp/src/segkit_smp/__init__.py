"""The decoders and encoders of segmentation-models-pytorch: `smp/<name>`.

Its decoders work here over any encoder and at any image size; its encoders under any decoder.
"""

from collections.abc import Iterable

from segkit.api import Decoder, Encoder, Factory, hookimpl
from segkit_smp.decoders import DECODERS
from segkit_smp.encoders import encoder_factory, encoder_names

FAMILY = "smp"


@hookimpl
def segkit_decoder(name: str) -> Factory[Decoder] | None:
    return DECODERS.get(name.removeprefix(f"{FAMILY}/"))


@hookimpl
def segkit_encoder(name: str) -> Factory[Encoder] | None:
    encoder = name.removeprefix(f"{FAMILY}/")
    return encoder_factory(encoder) if encoder in encoder_names() else None


@hookimpl
def segkit_members(kind: str, family: str) -> Iterable[str] | None:
    members = {"decoders": tuple(DECODERS), "encoders": encoder_names()}.get(kind)
    if members is None or family != FAMILY:
        return None
    return [f"{FAMILY}/{member}" for member in members]
