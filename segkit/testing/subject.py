"""What a check examines, and how it says that a contract is broken."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segkit.registry.components import Component, Registry
from segkit.registry.expression import ComponentExpression, parse_component

MakeRoot = Callable[[Path], object]


class Breach(AssertionError):
    """A component does not keep its contract: what came, and what to do where that is known."""

    def __init__(self, came: str, mend: str = "") -> None:
        super().__init__(came)
        self.mend = mend


class NotApplicable(Exception):
    """The component refuses this case by right, or the claim says nothing about it: no verdict."""


@dataclass(frozen=True)
class Subject:
    """One component as a user would write it, built anew for every question.

    kind          one of segkit.interfaces.KINDS
    written       its expression, such as "densenet121" or "focal(gamma=2)"
    make_root     fills an empty folder with data; data sets are read from there
    distribution  whose component it is, where another one may offer the same name
    """

    kind: str
    written: str
    registry: Registry
    make_root: MakeRoot | None = None
    distribution: str | None = None

    @property
    def component(self) -> Component:
        return self.registry.component(self.kind, self.expression)

    @property
    def expression(self) -> ComponentExpression:
        written = parse_component(self.written)
        return replace(written, distribution=written.distribution or self.distribution)

    def build(self, **arguments: Any) -> Any:
        return self.component.build(**arguments)


Check = Callable[[Subject], None]
MEND = "Mend:"
SEGKIT = Path(__file__).parents[1]


def require(held: bool, otherwise: str, mend: str = "") -> None:
    """Raises Breach with the sentence `otherwise` unless the claim held.

    mend   what to do about it, where that is more than the check's docstring says
    """
    if not held:
        raise Breach(otherwise, mend)


def shortened(error: BaseException) -> str:
    """The beginning of an error's text, in one line: torch's may go on for a page."""
    return " ".join(str(error).split())[:300] or "no message"


def line_of(error: BaseException) -> str:
    """Where an author looks: the last line of its traceback that is neither segkit's nor a
    library's; empty where there is none."""
    foreign = (str(SEGKIT), sysconfig.get_path("stdlib"), f"{os.sep}torch{os.sep}")
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.line and not any(each in frame.filename for each in foreign)
    ]
    if not frames:
        return ""
    last = frames[-1]
    return f"look at {last.filename}, line {last.lineno}, `{last.line}`"


def claim_of(check: Check) -> str:
    """What a check expects: its docstring up to "Mend:", in one line."""
    return " ".join((check.__doc__ or "").partition(MEND)[0].split())


def mend_of(check: Check) -> str:
    """What an author does who fails it: its docstring from "Mend:" on, in one line."""
    return " ".join((check.__doc__ or "").partition(MEND)[2].split())
