"""What components say about themselves is read in one place."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


def said_of(component: object, traits: type[Any]) -> dict[str, Any]:
    """What a component says by attributes named as the fields of `traits`; None says nothing."""
    said = {each.name: getattr(component, each.name, None) for each in fields(traits)}
    return {name: value for name, value in said.items() if value is not None}
