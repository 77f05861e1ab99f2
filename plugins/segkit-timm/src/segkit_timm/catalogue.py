"""Which models timm has, with their weights and pixel statistics; nothing is built here."""

from __future__ import annotations

from functools import cache

import timm
from timm.models import get_pretrained_cfg, split_model_name_tag

from segkit.api import Normalization, PublishedWeights

# Their forward pass reads values of tensors, so it cannot run on the meta device.
NO_ENCODERS = ("gemma4_vit",)


@cache
def encoder_names() -> frozenset[str]:
    """Every model, and every model with a pretrained tag: `resnet18`, `resnet18.a1_in1k`."""
    names = {*timm.list_models(), *timm.list_models(pretrained=True)}
    return frozenset(name for name in names if not name.startswith(NO_ENCODERS))


def bare_name(model: str) -> str:
    """The model without its pretrained tag."""
    return str(split_model_name_tag(model)[0])


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
