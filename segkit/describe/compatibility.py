"""Which encoders, decoders and upsamplers work together: each tried on torch's meta device."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch

from segkit.describe.partners import PARTS, kinds_of_part, partners
from segkit.errors import SegkitError, UsageError
from segkit.interfaces import DecoderTraits
from segkit.model.compose import build_model
from segkit.model.sizing import built_without_memory, device_of
from segkit.registry.components import Registry, default_registry
from segkit.registry.expression import parse_component
from segkit.registry.index import checked_kind, singular

# What the slots left free are tried with first: what a user gets without naming anything.
PREFERRED = {
    "encoders": ("densenet121", "unet", "vgg16_bn"),
    "decoders": ("unet",),
    "upsamplers": ("bilinear",),
}
# A family this large is listed by its name: trying each member would take minutes.
LARGE_FAMILY = 50


@dataclass(frozen=True)
class Fit:
    """One combination tried: `problem` is empty where it works, else the reason why not.

    uses_upsampler   False where the decoder enlarges by itself
    """

    encoder: str
    decoder: str
    upsampler: str
    problem: str = ""
    uses_upsampler: bool = True


def try_together(registry: Registry, encoder: str, decoder: str, upsampler: str) -> Fit:
    """Builds the network and runs it at 64 x 96, without memory or arithmetic."""
    try:
        uses_upsampler = _run(registry, encoder, decoder, upsampler)
    except SegkitError as error:
        return Fit(encoder, decoder, upsampler, error.what)
    # A network that fails otherwise does not work either, whatever its authors raised.
    except Exception as error:
        return Fit(encoder, decoder, upsampler, f"{type(error).__name__}: {error}")
    return Fit(encoder, decoder, upsampler, uses_upsampler=uses_upsampler)


def first_fit(registry: Registry, **wanted: str) -> Fit:
    """The first combination that works, or the first refusal.

    wanted   the slots that are fixed, as encoder="unet"; the others are tried, the usual ones first
    """
    slots = [
        [wanted[singular(kind)]] if singular(kind) in wanted else candidates(registry, kind)
        for kind in PARTS
    ]
    refusal = None
    # The decoder varies slowest: the upsampler is what most refusals are about.
    for decoder, encoder, upsampler in product(slots[1], slots[0], slots[2]):
        fit = try_together(registry, encoder, decoder, upsampler)
        if not fit.problem:
            return fit
        refusal = refusal or fit
    if refusal is None:
        raise UsageError("SK-C003", "no plugin offers the other parts of a network.")
    return refusal


def candidates(registry: Registry, kind: str) -> list[str]:
    """The usable components of a kind by name, the preferred ones first."""
    usable = [e for e in registry.index.of_kind(kind) if e.state == "ok"]
    count = Counter(entry.name for entry in usable)
    usual = PREFERRED[kind]
    ranked = sorted(usable, key=lambda e: usual.index(e.name) if e.name in usual else len(usual))
    return [entry.qualified if count[entry.name] > 1 else entry.name for entry in ranked]


def with_compatibility(
    rows: Sequence[Mapping[str, Any]], name: str, registry: Registry | None = None
) -> list[dict[str, Any]]:
    """The rows of `segkit list` that work together with a component, each with the trio that does.

    Raises UsageError SK-C003 where nothing has that name.
    """
    registry = registry or default_registry()
    kinds = kinds_of_part(registry.index, name)
    found = []
    for row in _with_members(registry, rows):
        others = partners(checked_kind(row["kind"]), kinds)
        if row["state"] != "ok" or not others:
            continue
        itself = f"{row['distribution']}:{row['name']}"
        fixed = {singular(kind): name for kind in others} | {row["kind"]: itself}
        fit = first_fit(registry, **fixed)
        if not fit.problem:
            free = [part for part in ("encoder", "decoder", "upsampler") if part not in fixed]
            if not fit.uses_upsampler:
                free = [part for part in free if part != "upsampler"]
            with_them = " ".join(f"--{part} {getattr(fit, part)}" for part in free)
            found.append({**row, "with": with_them or "its own enlarging"})
    return found


def _run(registry: Registry, encoder: str, decoder: str, upsampler: str) -> bool:
    """Whether the decoder uses the upsampler; raises whatever speaks against the combination."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = built_without_memory(
            lambda: build_model(encoder, decoder, upsampler, num_classes=2, registry=registry)
        ).eval()
        with torch.no_grad():
            model(torch.zeros(1, 3, 64, 96, device=device_of(model)))
        return DecoderTraits.of(model.decoder).uses_upsampler


def _with_members(
    registry: Registry, rows: Iterable[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """The rows, small families replaced by their members."""
    for row in rows:
        members: tuple[str, ...] = ()
        if row["kind"] in map(singular, PARTS) and row["state"] == "ok" and "/" not in row["name"]:
            kind, name = checked_kind(row["kind"]), f"{row['distribution']}:{row['name']}"
            members = registry.members(registry.index.find(kind, parse_component(name)))
        if 0 < len(members) <= LARGE_FAMILY:
            yield from ({**row, "name": member} for member in members)
        else:
            yield row
