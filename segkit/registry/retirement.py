"""Names that `segkit.api` no longer has: they warn for two minor versions, then they are gone."""

from __future__ import annotations

import sys
import warnings
from typing import NamedTuple

from segkit.registry.index import Index

# What stands between a plugin's line and the warning: no plugin is called so.
BETWEEN = ("importlib", "segkit.")


class Retired(NamedTuple):
    """A name that still works.

    now     what it is today, as "module:name"
    since   the minor version that retired it, such as "0.2"
    advice  what to write instead, a sentence
    """

    now: str
    since: str
    advice: str

    @property
    def gone(self) -> str:
        """The minor version that no longer has it."""
        major, minor = self.since.split(".")
        return f"{major}.{int(minor) + 2}"


def warn_of_retired(name: str, retired: Retired) -> None:
    """A FutureWarning, which users see too, naming the plugin whose line asked for the name."""
    warnings.warn(
        f"{_who()} uses segkit.api.{name}, retired in segkit-core {retired.since} and gone in "
        f"{retired.gone}. {retired.advice} Until then it works; please tell its authors.",
        FutureWarning,
        stacklevel=3,
    )


def _who() -> str:
    """Distribution and version of the module that asked, or the module's name."""
    asking, depth = "", 2
    while not asking:
        module = sys._getframe(depth).f_globals.get("__name__", "a program")
        asking = "" if module.startswith(BETWEEN) else module
        depth += 1
    top = asking.partition(".")[0]
    for entry in Index.of_installed(()).entries:
        if entry.module.partition(".")[0] == top:
            return f"{entry.distribution} {entry.version}"
    return asking
