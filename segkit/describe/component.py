"""Everything `segkit info` says of one component, as plain data: options, source, shapes, size."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import Any

from segkit.describe.catalogue import papers, summary
from segkit.describe.compatibility import first_fit
from segkit.describe.setting import Setting
from segkit.errors import SegkitError, UsageError, did_you_mean
from segkit.interfaces import EncoderTraits, MetricTraits
from segkit.kinds import KINDS
from segkit.model.compose import build_model
from segkit.model.loss_sum import takes_instances
from segkit.model.sizing import (
    built_without_memory,
    device_of,
    example_image,
    parameters_of,
    run_counted,
)
from segkit.registry.components import Component, Registry, default_registry
from segkit.registry.expression import parse_component
from segkit.registry.families import all_members
from segkit.registry.index import Index, a, checked_kind, singular
from segkit.registry.options import (
    Option,
    described_parameters,
    documentation,
    written_value,
)

# An upsampler is measured as one step of a decoder: 64 channels, from 32 x 32 to 64 x 64.
STEP_CHANNELS, STEP_SIDE = 64, 32


def kind_of(name: str, registry: Registry | None = None) -> str:
    """The kind that a name alone means.

    Raises UsageError SK-C003 where nothing is called so, SK-C004 where things of several kinds are.
    """
    registry = registry or default_registry()
    expression = parse_component(name)
    wanted, names = expression.entry, {e.name for e in registry.index.entries}
    kinds = [kind for kind in KINDS if any(e.name == wanted for e in registry.index.of_kind(kind))]
    if not kinds and wanted in {word for kind in KINDS for word in (kind, singular(kind))}:
        plural = checked_kind(wanted)
        raise UsageError(
            "SK-C011",
            f"'{wanted}' is a kind of component, not one.",
            f"Name one: segkit info {singular(plural)} NAME; `segkit list {plural}` shows all.",
        )
    if not kinds:
        near = did_you_mean(wanted, names) or _members_called(expression.name, registry.index)
        raise UsageError(
            "SK-C003",
            f"nothing installed is called '{wanted}'.",
            f"{near}`segkit list` shows everything.",
        )
    if len(kinds) > 1:
        raise UsageError(
            "SK-C004",
            f"'{wanted}' is the name of {' and of '.join(a(singular(kind)) for kind in kinds)}.",
            f"Say which: `segkit info {singular(kinds[0])} {wanted}`.",
        )
    return kinds[0]


def _members_called(name: str, index: Index) -> str:
    """The words "Did you mean `segkit info encoder timm/resnet18`? ", or none."""
    for kind in KINDS:
        for members in all_members(index, kind).values():
            for each in members:
                if each.partition("/")[2] == name:
                    return f"Did you mean `segkit info {singular(kind)} {each}`? "
    return ""


def describe(
    kind: str, written: str, setting: Setting | None = None, registry: Registry | None = None
) -> dict[str, Any]:
    """What is known of a component, in plain types.

    Where it cannot be measured, because it needs an option or does not work in this setting,
    `unmeasured` says why. Raises UsageError SK-C00x, PluginError SK-P00x.
    """
    registry = registry or default_registry()
    kind, expression = checked_kind(kind), parse_component(written)
    entry = registry.index.find(kind, expression)
    _refuse_unknown_partners(setting or Setting(), registry)
    factory = registry.factory(entry, expression.name)
    facts: dict[str, Any] = {
        "kind": singular(kind),
        "name": expression.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "module": entry.module,
        "summary": summary(factory),
        "description": _description(documentation(factory)),
        "papers": papers(factory),
        "options": [_option(option) for option in registry.options(entry, factory)],
    }
    try:
        component = registry.component(kind, expression)
        return facts | _measured(component, setting or Setting(), registry)
    except SegkitError as error:
        # A wrong option is the user's mistake; all else says something about the component.
        if error.code in ("SK-C005", "SK-C006"):
            raise
        return facts | {"unmeasured": error.what}


def _refuse_unknown_partners(setting: Setting, registry: Registry) -> None:
    """What the user names beside a decoder is there; whether it fits, the measurement says."""
    for kind, name in (("encoders", setting.encoder), ("upsamplers", setting.upsampler)):
        if name is not None:
            registry.index.find(kind, parse_component(name))


def _measured(component: Component, setting: Setting, registry: Registry) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        match component.entry.kind:
            case "encoders":
                return _encoder(component, setting)
            case "decoders":
                return _decoder(component, setting, registry)
            case "upsamplers":
                return _upsampler(component)
            case "losses" | "metrics":
                return _scoring(component)
    return {}


def _encoder(component: Component, setting: Setting) -> dict[str, Any]:
    encoder = built_without_memory(
        lambda: component.build(in_channels=setting.in_channels, weights="none")
    )
    image_BCHW = example_image(encoder, setting.in_channels, setting.height, setting.width)
    features, multiply_adds = run_counted(encoder, image_BCHW)
    mean, std = encoder.normalization
    traits = EncoderTraits.of(encoder)
    published = traits.published_weights
    return {
        "image": list(image_BCHW.shape[1:]),
        "levels": [
            {"stride": s, "channels": m.shape[1], "height": m.shape[2], "width": m.shape[3]}
            for s, m in zip(encoder.strides, features.maps, strict=True)
        ],
        "parameters": parameters_of(encoder),
        "multiply_adds": multiply_adds,
        "pool_indices": traits.provides_pool_indices,
        "normalization": {"mean": list(mean), "std": list(std)},
        "weights": published and {"repository": published.repository, "licence": published.licence},
    }


def _decoder(component: Component, setting: Setting, registry: Registry) -> dict[str, Any]:
    itself = f"{component.entry.distribution}:{component.expression}"
    wanted = {"encoder": setting.encoder, "upsampler": setting.upsampler}
    fixed = {slot: name for slot, name in wanted.items() if name is not None}
    fit = first_fit(registry, decoder=itself, **fixed)
    if fit.problem:
        return {"unmeasured": fit.problem}
    model = built_without_memory(
        lambda: build_model(
            fit.encoder,
            itself,
            fit.upsampler,
            num_classes=2,
            in_channels=setting.in_channels,
            registry=registry,
        )
    ).eval()
    image_BCHW = example_image(model.encoder, setting.in_channels, setting.height, setting.width)
    features, _ = run_counted(model.encoder, image_BCHW)
    map_BCHW, multiply_adds = run_counted(model.decoder, features)
    return {
        "encoder": fit.encoder,
        "upsampler": fit.upsampler,
        "image": list(image_BCHW.shape[1:]),
        "channels": model.decoder.channels,
        "stride": model.decoder.stride,
        "map": list(map_BCHW.shape[1:]),
        "parameters": parameters_of(model.decoder),
        "multiply_adds": multiply_adds,
    }


def _upsampler(component: Component) -> dict[str, Any]:
    import torch

    upsampler = built_without_memory(
        lambda: component.build(in_channels=STEP_CHANNELS, out_channels=STEP_CHANNELS, scale=2)
    )
    device, needs_indices = device_of(upsampler), upsampler.needs_pool_indices
    x_BCHW = torch.zeros(1, STEP_CHANNELS, STEP_SIDE, STEP_SIDE, device=device)
    indices = torch.zeros_like(x_BCHW, dtype=torch.int64) if needs_indices else None
    size = (2 * STEP_SIDE, 2 * STEP_SIDE)
    _, multiply_adds = run_counted(upsampler, x_BCHW, size=size, pool_indices=indices)
    return {
        "step": f"{STEP_CHANNELS} channels, {STEP_SIDE} x {STEP_SIDE} to {size[0]} x {size[1]} "
        "(height x width)",
        "needs_pool_indices": needs_indices,
        "parameters": parameters_of(upsampler),
        "multiply_adds": multiply_adds,
    }


def _scoring(component: Component) -> dict[str, Any]:
    """Of a metric what it says about itself; of a loss whether it needs objects."""
    built = component.build(num_classes=3, ignore_index=255)
    if component.entry.kind == "metrics":
        return asdict(MetricTraits.of(built))
    return {"needs_instances": takes_instances(built)}


def _option(option: Option) -> dict[str, Any]:
    return {
        "name": option.name,
        "type": option.type_name,
        "default": written_value(option.default),
        "required": option.required,
        "description": option.description,
    }


def _description(text: str) -> str:
    """The docstring's paragraphs after the first, without those that describe parameters."""
    paragraphs = text.split("\n\n")[1:]
    return "\n\n".join(p.strip() for p in paragraphs if not described_parameters(p))
