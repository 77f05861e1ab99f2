"""Every timm backbone as a segkit encoder: `timm/<model>` or `timm/<model>.<pretrained tag>`."""

from collections.abc import Iterable

from segkit.api import Encoder, Factory, hookimpl
from segkit_timm.catalogue import encoder_names
from segkit_timm.encoder import encoder_factory

FAMILY = "timm"


@hookimpl
def segkit_encoder(name: str) -> Factory[Encoder] | None:
    model = name.removeprefix(f"{FAMILY}/")
    return encoder_factory(model) if model in encoder_names() else None


@hookimpl
def segkit_members(kind: str, family: str) -> Iterable[str] | None:
    if (kind, family) != ("encoders", FAMILY):
        return None
    return [f"{FAMILY}/{model}" for model in sorted(encoder_names())]
