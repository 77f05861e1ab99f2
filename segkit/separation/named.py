"""The separations by name, and how they are written: `distance(reach=24)`, with their options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, get_type_hints

from segkit.errors import UsageError, did_you_mean
from segkit.registry.expression import ComponentExpression, parse_component
from segkit.registry.options import Option, check_options
from segkit.separation.boundary import Boundary
from segkit.separation.centre import Centre
from segkit.separation.contract import Separation
from segkit.separation.distance import Distance

REACH, LEAST_AREA = "reach", "least_area"
SEPARATIONS: dict[str, Callable[..., Separation]] = {
    "boundary": Boundary,
    "centre": Centre,
    "distance": Distance,
}


def build_separation(written: str) -> Separation:
    """The separation of that name and options; what is left out has its default.

    Raises UsageError: SK-C003 (no such name), SK-C005 and SK-C006 (options).
    """
    named = parse_component(written)
    factory = _factory(named.name)
    given = check_options(f"the separation '{named.name}'", _options(factory), named.options)
    wrong = [name for name, value in given.items() if not value > 0]
    if wrong:
        raise UsageError(
            "SK-C006", f"{wrong[0]} of {named.name} is {given[wrong[0]]}.", "Give more than 0."
        )
    return factory(**given)


def spelled_out(written: str, measured: Callable[[], Mapping[str, float | int]]) -> str:
    """With a value for every option, as it is recorded.

    measured   asked for where `reach` or `least_area` is left out: both, by the objects trained on
    """
    named = parse_component(written)
    build_separation(written)
    options = dict(named.options)
    if not options.keys() >= {REACH, LEAST_AREA}:
        options = {**measured(), **options}
    made = build_separation(str(ComponentExpression(named.name, options)))
    values = {each.name: getattr(made, each.name) for each in _options(_factory(named.name))}
    return str(ComponentExpression(named.name, values))


def _factory(name: str) -> Callable[..., Separation]:
    if name not in SEPARATIONS:
        raise UsageError(
            "SK-C003",
            f"no separation is called '{name}'.",
            f"{did_you_mean(name, SEPARATIONS)}There are {', '.join(SEPARATIONS)}.",
        )
    return SEPARATIONS[name]


def _options(factory: Any) -> tuple[Option, ...]:
    types = get_type_hints(factory)
    return tuple(
        Option(each.name, types[each.name], each.default, False, "") for each in fields(factory)
    )
