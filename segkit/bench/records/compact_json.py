"""JSON as a person reads it in a difference: what fits a line stands on one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

WIDTH = 140
# Beyond this no time is known, and no page shows as many.
DIGITS = 6


def compact(value: Any, indent: int = 0) -> str:
    """JSON of a value: containers that fit WIDTH on one line, the others filled line by line.

    Floats have DIGITS significant digits. Ends without a new line.
    """
    flat = json.dumps(_rounded(value))
    if not isinstance(value, Mapping | list | tuple) or len(flat) + indent <= WIDTH:
        return flat
    if isinstance(value, Mapping):
        parts = [f"{json.dumps(key)}: {compact(each, indent + 1)}" for key, each in value.items()]
    else:
        parts = [compact(each, indent + 1) for each in value]
    opened, closed = "{}" if isinstance(value, Mapping) else "[]"
    return f"{opened}\n{_filled(parts, ' ' * (indent + 1))}\n{' ' * indent}{closed}"


def _filled(parts: list[str], margin: str) -> str:
    """The parts with commas between, as many to a line as fit; one of several lines by itself."""
    lines = [margin]
    for at, part in enumerate(parts):
        text = part + "," * (at + 1 < len(parts))
        if lines[-1] == margin:
            lines[-1] += text
        elif "\n" in text or "\n" in lines[-1] or len(lines[-1]) + 1 + len(text) > WIDTH:
            lines.append(margin + text)
        else:
            lines[-1] += " " + text
    return "\n".join(lines)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value
