"""The directory of plugins that are known to this repository: what there is to install.

A copy is shipped beside this file; another is read, or fetched, only when it is asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.errors import EnvironmentFault, UsageError, did_you_mean
from segkit.kinds import KINDS, NAME
from segkit.registry.index import canonical

SHIPPED = Path(__file__).parent / "directory.json"
FORMAT = "segkit-directory/1"
LARGEST, SECONDS = 1_000_000, 30
LIFECYCLES = {
    "ours": "made and tested in segkit's repository",
    "verified": "passed segkit's checks against the core that this directory is for",
    "listed": "named by its authors; segkit's have not tried it",
    "archived": "no longer kept by its authors",
}


@dataclass(frozen=True)
class Listed:
    """One plugin of the directory.

    name        of the distribution
    summary     a sentence
    components  names by kind
    versions    that are meant, as pip writes them: ">=0.1,<0.2"
    lifecycle   one of LIFECYCLES
    address     where pip gets it from, such as git+https://...; empty: its index
    """

    name: str
    summary: str
    components: dict[str, list[str]]
    versions: str
    lifecycle: str
    address: str = ""

    @property
    def requirement(self) -> str:
        """What pip is given."""
        return f"{self.name} @ {self.address}" if self.address else f"{self.name}{self.versions}"

    @property
    def kinds(self) -> list[str]:
        return [kind for kind in KINDS if kind in self.components]


def read_directory(source: str | None = None) -> tuple[Listed, ...]:
    """The plugins of the shipped directory, of a file, or of an http(s) address, by name.

    Raises UsageError SK-C010 for what is no directory, EnvironmentFault SK-P008 where an address
    cannot be reached.
    """
    text = _fetched(source) if source and re.match(r"https?://", source) else _read(source)
    where = source or str(SHIPPED)
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}, and {FORMAT!r} is read")
        found = [_listed(each) for each in content["plugins"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "SK-C010",
            f"{where} is no directory of plugins ({type(error).__name__}: {error}).",
            f"The one that is shipped shows the form: {SHIPPED}",
        ) from error
    return tuple(sorted(found, key=lambda each: each.name))


def find_listed(name: str, directory: Sequence[Listed]) -> Listed:
    """The plugin called so, or the one that offers a component called so.

    Raises UsageError SK-C003 where there is none, or several offer it.
    """
    wanted = canonical(name)
    for each in directory:
        if each.name in (wanted, f"segkit-{wanted}"):
            return each
    entry = name.partition("(")[0].partition("/")[0]
    offering = [each for each in directory if any(entry in n for n in each.components.values())]
    if len(offering) == 1:
        return offering[0]
    names = [each.name for each in directory]
    components = {n for each in directory for listed in each.components.values() for n in listed}
    if offering:
        several = " and ".join(each.name for each in offering)
        raise UsageError("SK-C003", f"'{name}' is offered by {several}.", "Name one of them.")
    raise UsageError(
        "SK-C003",
        f"the directory knows no plugin called '{name}', and none that offers it.",
        f"{did_you_mean(name, [*names, *components])}`segkit plugins --available` shows all "
        f"{len(names)}. One that is not in it: python -m pip install NAME",
    )


def _listed(entry: dict[str, Any]) -> Listed:
    from packaging.specifiers import SpecifierSet

    listed = Listed(**entry)
    # What pip is given must be a name, versions and an address, never an option of pip's.
    if canonical(listed.name) != listed.name or not re.fullmatch(NAME, listed.name):
        raise ValueError(f"{listed.name!r} is no distribution's name")
    if listed.lifecycle not in LIFECYCLES:
        raise ValueError(
            f"{listed.name}: the lifecycle {listed.lifecycle!r} is none of these: "
            f"{', '.join(LIFECYCLES)}"
        )
    if listed.address and not re.match(r"(git\+)?https://\S+$", listed.address):
        raise ValueError(f"{listed.name}: the address {listed.address!r} is not https")
    if unknown := set(listed.components) - set(KINDS):
        raise ValueError(f"{listed.name}: there is no kind {sorted(unknown)[0]!r}")
    SpecifierSet(listed.versions)
    return listed


def _read(source: str | None) -> str:
    file = Path(source) if source else SHIPPED
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "SK-C010", f"{file} cannot be read ({error}).", "Give a file, or an https address."
        ) from error


def _fetched(address: str) -> str:
    from urllib.request import urlopen

    try:
        with urlopen(address, timeout=SECONDS) as answer:
            text: str = answer.read(LARGEST).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EnvironmentFault(
            "SK-P008",
            f"{address} cannot be fetched ({error}).",
            "Leave --directory out for the copy that is shipped.",
        ) from error
    return text
