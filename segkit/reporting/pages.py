"""Pages of one file that open without a network: templates that escape, pictures held inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Figure:
    """A picture for light pages and for dark ones, as addresses that hold it."""

    name: str
    light: str
    dark: str
    caption: str = ""

    @property
    def alternative(self) -> str:
        return self.name.replace("-", " ")


def pages(package: str) -> Environment:
    """The templates of a package, which may include this one's style and parts.

    Whatever is put into a page is escaped; nothing in it is fetched.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader

    return Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("segkit.reporting")]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
