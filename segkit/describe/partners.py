"""Which kinds of component meet in a network, told by metadata alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from segkit.errors import UsageError
from segkit.registry.expression import parse_component
from segkit.registry.index import Index, a, checked_kind, singular

PARTS = ("encoders", "decoders", "upsamplers")


def kinds_of_part(index: Index, name: str) -> list[str]:
    """The kinds of part that have this name; raises UsageError SK-C003 where none has."""
    expression = parse_component(name)
    kinds, missing = [], None
    for kind in PARTS:
        try:
            index.find(kind, expression)
            kinds.append(kind)
        except UsageError as error:
            missing = missing or error
    if not kinds and missing is not None:
        raise missing
    return kinds


def partners(kind: str, kinds: Sequence[str]) -> list[str]:
    """The kinds that a name stands for beside this one: `unet` is an encoder and a decoder."""
    return [other for other in kinds if other != kind and kind in PARTS]


def refuse_without_partner(rows: Iterable[Mapping[str, Any]], name: str, index: Index) -> None:
    """Raises UsageError: SK-C003 where nothing has that name, SK-C007 where no row can meet it."""
    kinds = kinds_of_part(index, name)
    asked = {checked_kind(row["kind"]) for row in rows}
    if not any(partners(kind, kinds) for kind in asked):
        raise UsageError(
            "SK-C007",
            f"'{name}' is {a(singular(kinds[0]))}, and {' or '.join(sorted(asked)) or 'nothing'} "
            "was listed.",
            f"List {' or '.join(kind for kind in PARTS if kind != kinds[0])} that work with it.",
        )
