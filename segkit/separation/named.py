"""The separations by name, and how they are written: `distance(reach=24)`, with their options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints

from segkit.errors import UsageError, did_you_mean
from segkit.registry.expression import ComponentExpression, parse_component
from segkit.registry.options import Option, check_options
from segkit.separation.boundary import Boundary
from segkit.separation.centre import Centre
from segkit.separation.contract import Separation
from segkit.separation.distance import Distance

SEPARATIONS: dict[str, Callable[..., Separation]] = {
    "boundary": Boundary,
    "centre": Centre,
    "distance": Distance,
}
USUAL_DEPTH = "reach"


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


def spelled_out(written: str, usual_depth: Callable[[], float | None]) -> str:
    """With a value for every option, as it is recorded.

    usual_depth   asked for where `reach` is left out: the median depth of the objects trained on
    """
    named = parse_component(written)
    options = dict(named.options)
    build_separation(written)
    if USUAL_DEPTH not in options and (found := usual_depth()) is not None:
        options[USUAL_DEPTH] = round(max(found, 2.0), 1)
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
