"""Which models timm has, with their weights and pixel statistics; nothing is built here."""

from __future__ import annotations

from functools import cache

import timm
from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg, is_model, split_model_name_tag

from segkit.api import Normalization, PublishedWeights


@cache
def encoder_names() -> tuple[str, ...]:
    """Every model, then every model with a pretrained tag, as `resnet18` and `resnet18.a1_in1k`."""
    bare = set(timm.list_models())
    tagged = set(timm.list_models(pretrained=True))
    return tuple(sorted(name for name in bare | tagged))


def bare_name(model: str) -> str:
    """The model without its pretrained tag."""
    return str(split_model_name_tag(model)[0])


def is_encoder(model: str) -> bool:
    """Whether timm has this model, and where a tag is given, weights of that tag."""
    bare, tag = split_model_name_tag(model)
    if not is_model(bare):
        return False
    return not tag or model in get_arch_pretrained_cfgs(bare)


def published_weights(model: str) -> PublishedWeights | None:
    """Where timm publishes the model's weights on the hub; None where it does not."""
    settings = get_pretrained_cfg(model)
    if settings is None or not settings.hf_hub_id:
        return None
    named = settings.hf_hub_filename or ""
    file = named if named.endswith(".safetensors") else "model.safetensors"
    licence = settings.license or "see the model card"
    return PublishedWeights(str(settings.hf_hub_id), licence, file)


def normalization(model: str) -> Normalization:
    """The pixel statistics the model was trained with; ImageNet's where timm states none."""
    settings = get_pretrained_cfg(model)
    if settings is None:
        return Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return Normalization(tuple(settings.mean), tuple(settings.std))


def trained_size(model: str) -> tuple[int, int]:
    """Height and width of the images the model was trained on."""
    settings = get_pretrained_cfg(model)
    size = settings.input_size if settings else (3, 224, 224)
    return int(size[1]), int(size[2])
