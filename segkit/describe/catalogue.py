"""What there is to say of a component: summary, capabilities, options, source, size."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from segkit.describe.compatibility import first_fit
from segkit.errors import SegkitError
from segkit.interfaces import EncoderTraits, MetricTraits
from segkit.model.loss_sum import takes_instances
from segkit.model.sizing import built_without_memory
from segkit.registry.components import Component, Registry, default_registry
from segkit.registry.expression import parse_component
from segkit.registry.index import checked_kind
from segkit.registry.options import documentation

ARXIV = re.compile(r"arXiv:\s?(\d{4}\.\d{4,5})", re.IGNORECASE)


def with_details(
    rows: Sequence[Mapping[str, Any]], registry: Registry | None = None
) -> list[dict[str, Any]]:
    """The rows of `segkit list` with each component's summary, capabilities and weights' licence.

    A plugin that cannot be loaded becomes a broken row with the reason; the others stay.
    """
    registry = registry or default_registry()
    return [_detailed(dict(row), registry) for row in rows]


def summary(factory: Callable[..., Any]) -> str:
    """The docstring's first sentence, on one line."""
    first = documentation(factory).split("\n\n")[0]
    return " ".join(first.split())


def papers(factory: Callable[..., Any]) -> list[str]:
    """Links to the papers that the docstring names, else those that its module names."""
    while isinstance(factory, partial):
        factory = factory.func
    module = sys.modules.get(getattr(factory, "__module__", "") or "")
    for text in (documentation(factory), (module and module.__doc__) or ""):
        if found := ARXIV.findall(text):
            return [f"https://arxiv.org/abs/{number}" for number in dict.fromkeys(found)]
    return []


def capabilities(component: Component, registry: Registry) -> tuple[str, str]:
    """(what it can do, the licence of its published weights), as short texts; built to find out."""
    match component.entry.kind:
        case "encoders":
            encoder = built_without_memory(lambda: component.build(in_channels=3, weights="none"))
            return _encoder_capabilities(encoder, component), licence_of(encoder)
        case "decoders":
            itself = f"{component.entry.distribution}:{component.expression}"
            fit = first_fit(registry, decoder=itself)
            return "" if fit.uses_upsampler else "enlarges by itself", ""
        case "upsamplers":
            upsampler = built_without_memory(
                lambda: component.build(in_channels=64, out_channels=64, scale=2)
            )
            return "needs pooling indices" if upsampler.needs_pool_indices else "", ""
        case "losses":
            loss = component.build(num_classes=3, ignore_index=255)
            return "uses object masks" if takes_instances(loss) else "", ""
        case "metrics":
            traits = MetricTraits.of(component.build(num_classes=3, ignore_index=255))
            texts = []
            if traits.needs_instances:
                texts.append("uses object masks")
            if traits.takes == "logits":
                texts.append("takes logits")
            return ", ".join(texts), ""
    return "", ""


def licence_of(encoder: Any) -> str:
    """The licence of an encoder's published weights, or an empty text where none are published."""
    published = EncoderTraits.of(encoder).published_weights
    return published.licence if published is not None else ""


def _encoder_capabilities(encoder: Any, component: Component) -> str:
    texts = [f"strides {encoder.strides[0]} to {encoder.strides[-1]}"]
    if len(encoder.strides) == 1:
        texts = [f"stride {encoder.strides[0]}"]
    traits = EncoderTraits.of(encoder)
    if traits.provides_pool_indices:
        texts.append("pooling indices")
    if any(option.name == "output_stride" for option in component.options):
        texts.append("dilation")
    if traits.margin:
        texts.append("unpadded")
    return ", ".join(texts)


def _detailed(row: dict[str, Any], registry: Registry) -> dict[str, Any]:
    row |= {"capabilities": "", "weights": "", "summary": ""}
    if row["state"] != "ok":
        return row
    kind = checked_kind(row["kind"])
    try:
        expression = parse_component(f"{row['distribution']}:{row['name']}")
        entry = registry.index.find(kind, expression)
        members = () if "/" in row["name"] else registry.members(entry)
        if members:
            row["summary"] = f"A family of {len(members)}, such as {members[0]}."
            return row
        row["summary"] = summary(registry.factory(entry, expression.name))
        row["capabilities"], row["weights"] = capabilities(
            registry.component(kind, expression), registry
        )
    except SegkitError as error:
        # A component that needs an option is whole; everything else is a fault.
        if error.code == "SK-C011":
            row["capabilities"] = error.what
        else:
            row |= {"state": "broken", "problem": error.what.rstrip(".")}
    return row
