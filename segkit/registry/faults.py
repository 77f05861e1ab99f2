"""Whose fault an exception is that nobody foresaw: told by the files it passed through."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from segkit.errors import PluginError
from segkit.registry.components import Component, default_registry
from segkit.registry.index import Entry

HOME = Path(__file__).parents[1]


def plugin_fault(error: BaseException) -> PluginError | None:
    """The error as SK-P007 of the plugin that it came out of; None where it came out of no plugin.

    The innermost file that belongs to segkit or to a plugin tells: what torch raises below a
    plugin's line is the plugin's. A data set's error in a reading process stands in the text.
    """
    places = [(frame.filename, frame.lineno or 0) for frame in _frames(error)]
    text = str(error)
    places += [(m[1], int(m[2])) for m in re.finditer(r'File "([^"]+)", line (\d+)', text)]
    used = default_registry().used
    for filename, line in reversed(places):
        owners = [c for c in used if Path(filename) in _files(c.entry)]
        if owners:
            return _fault(owners, f"{Path(filename).name}:{line}", error)
        if HOME in Path(filename).parents:
            return None
    return None


def _frames(error: BaseException) -> traceback.StackSummary:
    return traceback.extract_tb(error.__traceback__)


def _files(entry: Entry) -> set[Path]:
    """The files of the package that the entry's module is part of."""
    module = default_registry().load(entry)
    home = Path(module.__file__ or "")
    if home.name != "__init__.py":
        return {home}
    return set(home.parent.rglob("*.py"))


def _fault(owners: list[Component], place: str, error: BaseException) -> PluginError:
    entry = owners[0].entry
    names = " or ".join(dict.fromkeys(f"'{component.name}'" for component in owners))
    # A reading process wraps the error: its last line is the error itself.
    last = (str(error).strip().splitlines() or ["no message"])[-1]
    kind = "" if "Original Traceback" in str(error) else f"{type(error).__name__}: "
    return PluginError(
        "SK-P007",
        f"{names} of {entry.distribution} {entry.version} failed while it ran "
        f"({kind}{last.strip()}; {place}).",
        "The same command with --debug shows the whole traceback. Please report it to the authors "
        f"of {entry.distribution}.",
    )
