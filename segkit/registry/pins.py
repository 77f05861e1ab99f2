"""Which plugin gave each component of a run: written into config.yaml, and kept when that is read.

A plugin installed later may offer the same name: the run's own stays what is meant.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import NamedTuple

from segkit.config import TrainConfig
from segkit.errors import UsageError
from segkit.registry.expression import ComponentExpression, Term, parse_list, parse_sum
from segkit.registry.index import CORE, Index, singular, version_of

# The settings that name components, and of which kind.
NAMING = {
    "dataset": "datasets",
    "encoder": "encoders",
    "decoder": "decoders",
    "upsampler": "upsamplers",
    "loss": "losses",
    "metric": "metrics",
}
_PIN = re.compile(r"(\w+) (\S+) of (\S+) (\S+)")


class Pin(NamedTuple):
    """One component as it was when the settings were written; str() is how they hold it."""

    kind: str
    name: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{singular(self.kind)} {self.name} of {self.distribution} {self.version}"


def plugins_of(config: TrainConfig, index: Index) -> str:
    """The setting `plugins`: every component named, with distribution and version."""
    pins = []
    for setting, kind in NAMING.items():
        for component in _named(getattr(config, setting), setting):
            entry = index.find(kind, component)
            pins.append(Pin(kind, component.name, entry.distribution, entry.version))
    return ", ".join(map(str, dict.fromkeys(pins)))


def as_pinned(
    config: TrainConfig, index: Index, settings: Collection[str] = tuple(NAMING)
) -> TrainConfig:
    """The settings with a distribution before each name that others offer by now too.

    settings   the names of those that are looked at
    Raises UsageError SK-C003 where a plugin that the settings were written with is not installed.
    """
    pins = {(pin.kind, pin.name): pin for pin in _pins(config)}
    changed = {}
    for setting in settings:
        kind, written = NAMING[setting], getattr(config, setting)
        components = list(_named(written, setting))
        found = [_found(each, pins.get((kind, each.name)), index) for each in components]
        if found != components:
            changed[setting] = _text(written, setting, found)
    return config.model_copy(update=changed)


def other_versions(config: TrainConfig) -> list[str]:
    """A sentence for each plugin of which another version is installed than the settings name."""
    wanted = {pin.distribution: pin.version for pin in _pins(config)}
    have = {name: version_of(name) for name in wanted}
    return [
        f"These settings were written with {name} {version}, and {have[name]} is installed: "
        f"results may differ. python -m pip install {name}=={version} brings it back."
        for name, version in wanted.items()
        if have[name] not in (None, version)
    ]


def _found(component: ComponentExpression, pin: Pin | None, index: Index) -> ComponentExpression:
    if pin is None or component.distribution not in (None, pin.distribution):
        return component
    offers = [e.distribution for e in index.of_kind(pin.kind) if e.name == component.entry]
    if pin.distribution not in offers:
        raise UsageError(
            "SK-C003",
            f"the settings were written with the {pin}, which is not installed.",
            f"python -m pip install {pin.distribution}=={pin.version} {CORE}",
        )
    return replace(component, distribution=pin.distribution) if len(offers) > 1 else component


def _pins(config: TrainConfig) -> Iterator[Pin]:
    kinds = {singular(kind): kind for kind in NAMING.values()}
    for text in filter(None, (config.plugins or "").split(", ")):
        match = _PIN.fullmatch(text)
        if match is None or match[1] not in kinds:
            raise UsageError(
                "SK-C009",
                f"plugins: '{text}' cannot be read.",
                "Segkit writes this setting, as `encoder unet of segkit-unet 0.1.0, ...`; remove "
                "it where you change the parts.",
            )
        yield Pin(kinds[match[1]], match[2], match[3], match[4])


def _named(written: str | None, setting: str) -> tuple[ComponentExpression, ...]:
    if written is None:
        return ()
    if setting == "loss":
        return tuple(term.component for term in parse_sum(written))
    return parse_list(written)


def _text(written: str, setting: str, found: list[ComponentExpression]) -> str:
    if setting != "loss":
        return ", ".join(map(str, found))
    weights = [term.weight for term in parse_sum(written)]
    return " + ".join(str(Term(w, each)) for w, each in zip(weights, found, strict=True))
