"""How a component is written, `densenet121(depth=4)`, and losses are added up, `0.5*dice + ce`.

A small strict grammar, the same on the command line, in YAML and in Python; nothing is evaluated.

    sum        = term { "+" term }
    term       = [ number "*" ] component
    component  = [ distribution ":" ] name [ "/" member ] [ "(" [ option { "," option } ] ")" ]
    option     = identifier "=" literal
    literal    = [ "+" | "-" ] number | true | false | none | word | 'text' | "text" | list
    list       = "[" [ literal { "," literal } ] "]"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from segkit.errors import UsageError

MEMBER = r"[A-Za-z0-9][A-Za-z0-9_.-]*"

_TOKEN = re.compile(
    rf"""\s*(?:
      (?P<number>(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?(?![A-Za-z0-9_./:-]))
    | (?P<text>"[^"]*"|'[^']*')
    | (?P<name>{MEMBER}(?::{MEMBER})?(?:/{MEMBER})*)
    | (?P<mark>[()\[\],=+*-])
    )""",
    re.VERBOSE,
)
# In capitals too, so that mIoU is an unknown name with a near one, and not a sign out of place.
_COMPONENT = re.compile(rf"(?:(?P<distribution>{MEMBER}):)?(?P<name>{MEMBER}(?:/{MEMBER})*)")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "none": None, "null": None}


@dataclass(frozen=True)
class ComponentExpression:
    """A component as the user named it: `distribution` only where two offer the same name."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    distribution: str | None = None

    def __str__(self) -> str:
        prefix = f"{self.distribution}:" if self.distribution else ""
        if not self.options:
            return f"{prefix}{self.name}"
        options = ", ".join(f"{key}={_literal(value)}" for key, value in self.options.items())
        return f"{prefix}{self.name}({options})"

    @property
    def entry(self) -> str:
        """The name of the entry point: for `timm/resnet18`, `timm`."""
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Term:
    """One summand of a sum: weight times component."""

    weight: float
    component: ComponentExpression

    def __str__(self) -> str:
        if self.weight == 1:
            return str(self.component)
        short = f"{self.weight:g}"
        exact = short if float(short) == self.weight else repr(self.weight)
        return f"{exact}*{self.component}"


def parse_component(text: str) -> ComponentExpression:
    """Reads `name`, `name(option=value)` or `distribution:name(...)`; raises UsageError SK-C001."""
    reader = _Reader(text)
    component = reader.component()
    reader.end()
    return component


def parse_sum(text: str) -> tuple[Term, ...]:
    """Reads `dice`, `dice + ce`, `0.5*dice + focal(gamma=2)`; raises UsageError SK-C001."""
    reader = _Reader(text)
    terms = [reader.term()]
    while reader.take("+"):
        terms.append(reader.term())
    reader.end()
    return tuple(terms)


def parse_list(text: str) -> tuple[ComponentExpression, ...]:
    """Reads `miou, dice, boundary_iou(width=2)`; raises UsageError SK-C001."""
    reader = _Reader(text)
    components = [reader.component()]
    while reader.take(","):
        components.append(reader.component())
    reader.end()
    return tuple(components)


def _literal(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case list() | tuple():
            return f"[{', '.join(_literal(each) for each in value)}]"
    text = str(value)
    bare = re.fullmatch(MEMBER, text) and text.lower() not in _WORDS and not _number(text)
    if bare:
        return text
    return f"'{text}'" if "'" not in text else f'"{text}"'


def _number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?", text) is not None


class _Reader:
    """A recursive-descent reader; every refusal shows the place."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        position = 0
        end = len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                position += len(text[position:]) - len(text[position:].lstrip())
                self._refuse(f"{text[position]!r} cannot stand here", position)
            kind = str(match.lastgroup)
            self.tokens.append((kind, match.group(kind), match.start(kind)))
            position = match.end()
        self.at = 0

    def peek(self) -> tuple[str, str, int]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "", len(self.text))

    def take(self, mark: str) -> bool:
        kind, value, _ = self.peek()
        if kind == "mark" and value == mark:
            self.at += 1
            return True
        return False

    def need(self, mark: str, *, closing: str = "") -> None:
        if not self.take(mark):
            _, value, place = self.peek()
            wanted = f"{mark!r} or {closing!r}" if closing else repr(mark)
            self._refuse(f"expected {wanted}, found {value or 'the end'!r}", place)

    def end(self) -> None:
        kind, value, place = self.peek()
        if kind != "end":
            self._refuse(f"{value!r} cannot stand here", place)

    def term(self) -> Term:
        kind, value, _ = self.peek()
        following = self.tokens[self.at + 1 : self.at + 2]
        if kind == "number" and following and following[0][:2] == ("mark", "*"):
            self.at += 2
            return Term(float(value), self.component())
        return Term(1.0, self.component())

    def component(self) -> ComponentExpression:
        kind, value, place = self.peek()
        match = _COMPONENT.fullmatch(value) if kind == "name" else None
        if match is None:
            self._refuse(f"expected a component's name, found {value or 'the end'!r}", place)
        self.at += 1
        options: dict[str, Any] = {}
        if self.take("("):
            while not self.take(")"):
                if options:
                    self.need(",", closing=")")
                self.option(options)
        return ComponentExpression(match["name"], options, match["distribution"])

    def option(self, options: dict[str, Any]) -> None:
        kind, key, place = self.peek()
        if kind != "name" or not key.isidentifier():
            self._refuse(f"expected an option's name, found {key or 'the end'!r}", place)
        if key in options:
            self._refuse(f"option {key!r} is given twice", place)
        self.at += 1
        self.need("=")
        options[key] = self.literal()

    def literal(self) -> Any:
        if self.take("["):
            values: list[Any] = []
            while not self.take("]"):
                if values:
                    self.need(",", closing="]")
                values.append(self.literal())
            return values
        minus = self.take("-")
        signed = minus or self.take("+")
        kind, value, place = self.peek()
        if kind not in ("number", "text", "name") or (signed and kind != "number"):
            self._refuse(f"expected a value, found {value or 'the end'!r}", place)
        self.at += 1
        if kind == "text":
            return value[1:-1]
        if kind == "number":
            number = int(value) if value.isdigit() else float(value)
            return -number if minus else number
        return _WORDS.get(value.lower(), value)

    def _refuse(self, why: str, place: int) -> NoReturn:
        raise UsageError(
            "SK-C001",
            f"cannot read the expression: {why}.\n  {self.text}\n  {' ' * place}^",
            "Write name or name(option=value), and sums of losses as 0.5*dice + ce.",
        )
