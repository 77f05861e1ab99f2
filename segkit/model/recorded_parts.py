"""Finds the components that a model was built with, or says which plugins to install."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from segkit.errors import ModelFileError, SegkitError
from segkit.model.network import Part
from segkit.registry.components import Component, Registry
from segkit.registry.expression import parse_component
from segkit.registry.index import canonical, singular, version_of


def recorded_components(parts: Mapping[str, Part], registry: Registry) -> dict[str, Component]:
    """By kind; raises ModelFileError SK-M003 where a plugin is missing, or is another version that
    no longer has the component or its options."""
    _refuse_missing_plugins(parts, registry)
    return {kind: _recorded(registry, kind, part) for kind, part in parts.items()}


def _refuse_missing_plugins(parts: Mapping[str, Part], registry: Registry) -> None:
    """Raises ModelFileError SK-M003 with all plugins that are not installed, and how they are."""
    installed = registry.index.distributions()
    missing = {k: p for k, p in parts.items() if canonical(p.distribution) not in installed}
    if not missing:
        return
    named = [
        f"the {singular(kind)} {parse_component(part.expression).name} of {part.distribution} "
        f"{part.version}"
        for kind, part in missing.items()
    ]
    wanted = dict.fromkeys(f"{part.distribution}=={part.version}" for part in missing.values())
    raise ModelFileError(
        "SK-M003",
        f"the model was built with {' and '.join(named)}, not installed here.",
        f"python -m pip install {' '.join(wanted)}",
    )


def _recorded(registry: Registry, kind: str, part: Part) -> Component:
    expression = parse_component(part.expression)
    try:
        return registry.component(kind, replace(expression, distribution=part.distribution))
    except SegkitError as error:
        raise ModelFileError(
            "SK-M003",
            f"the model was built with {expression.name} of {part.distribution} {part.version}, "
            f"and version {version_of(part.distribution)} cannot be used ({error.what})",
            f"python -m pip install {part.distribution}=={part.version}",
        ) from error
