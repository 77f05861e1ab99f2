"""The installed distributions, read straight from their metadata folders.

The standard library's importlib.metadata does the same; importing it with what it needs takes 25 ms
of the 100 ms that `segkit list` may take. So it is asked only where distributions are not plain
folders on the path: zip files, eggs, finders of their own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import importlib.metadata


_BLOCK = 2**16
_BINARY = getattr(os, "O_BINARY", 0)  # of Windows alone


class EntryPoint(NamedTuple):
    group: str
    name: str
    value: str


class Distribution:
    """One installed distribution; its files are read when they are asked for.

    location   its metadata folder, as shown in messages
    read       the text of one of the folder's files, or "" where there is none
    """

    def __init__(self, location: str, read: Callable[[str], str]) -> None:
        self.location, self.read = location, read

    @property
    def name(self) -> str:
        return self._header("Name")

    @property
    def version(self) -> str:
        return self._header("Version")

    @property
    def requires(self) -> tuple[str, ...]:
        return self._headers.get("Requires-Dist", ())

    @property
    def entry_points(self) -> Iterator[EntryPoint]:
        group = ""
        for line in self.read("entry_points.txt").splitlines():
            line = line.strip()
            if not line or line.startswith(("#", ";")):
                continue
            if line.startswith("[") and line.endswith("]"):
                group = line[1:-1].strip()
                continue
            name, equals, value = line.partition("=")
            if equals:
                yield EntryPoint(group, name.strip(), value.strip())

    @cached_property
    def _headers(self) -> dict[str, tuple[str, ...]]:
        headers: dict[str, tuple[str, ...]] = {}
        for line in (self.read("METADATA") or self.read("PKG-INFO")).splitlines():
            # An empty line ends the headers; one of blanks belongs to a long licence text.
            if not line:
                break
            name, _, value = line.partition(":")
            if not line[0].isspace():
                headers[name] = (*headers.get(name, ()), value.strip())
        return headers

    def _header(self, name: str) -> str:
        return self._headers.get(name, ("",))[0]


def distributions() -> Iterator[Distribution]:
    """Every installed distribution, in the order of the path; a hidden second copy comes later."""
    if not _only_folders():
        yield from _from_the_standard_library()
        return
    for folder in dict.fromkeys(sys.path):
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 - pathlib takes 7 ms to import
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                location = os.path.join(folder, name)  # noqa: PTH118
                yield Distribution(location, _reader(location))


def canonical(distribution: str) -> str:
    """A distribution's name in its one normal form: lower case, single hyphens."""
    # Without a regular expression: to compile one takes as long as to normalise hundreds of names.
    words = distribution.strip().lower().replace("_", "-").replace(".", "-").split("-")
    return "-".join(word for word in words if word)


def version_of(distribution: str) -> str | None:
    """The version of an installed distribution, or None."""
    wanted = canonical(distribution)
    for found in distributions():
        # The folder's name starts with the distribution's, so that few files need be opened.
        folder = found.location.replace("\\", "/").rpartition("/")[2]
        if canonical(folder).startswith(wanted) and canonical(found.name) == wanted:
            return found.version
    return None


def _only_folders() -> bool:
    finders = (f for f in sys.meta_path if hasattr(f, "find_distributions"))
    if any(getattr(f, "__name__", "") != "PathFinder" for f in finders):
        return False
    # The interpreter always lists its own python311.zip, which holds no distribution.
    archives = (entry for entry in sys.path if entry.endswith((".zip", ".egg", ".whl", ".pyz")))
    return not any(os.path.exists(entry) for entry in archives)  # noqa: PTH110


def _reader(location: str) -> Callable[[str], str]:
    def read(file: str) -> str:
        # Most distributions have no entry points: to find that out, `os.open` takes a third of the
        # time of `open`, hundreds of times.
        try:
            opened = os.open(f"{location}{os.sep}{file}", os.O_RDONLY | _BINARY)
        except OSError:
            return ""
        try:
            # The text of a file opened as such: line ends are \n there.
            return _whole(opened).decode("utf-8").replace("\r\n", "\n")
        except (OSError, UnicodeDecodeError):
            return ""
        finally:
            os.close(opened)

    return read


def _whole(opened: int) -> bytes:
    blocks = [os.read(opened, _BLOCK)]
    while len(blocks[-1]) == _BLOCK:
        blocks.append(os.read(opened, _BLOCK))
    return b"".join(blocks)


def _library_reader(found: importlib.metadata.Distribution) -> Callable[[str], str]:
    return lambda file: found.read_text(file) or ""


def _from_the_standard_library() -> Iterator[Distribution]:
    import importlib.metadata

    for found in importlib.metadata.distributions():
        location = str(getattr(found, "_path", found))
        yield Distribution(location, _library_reader(found))
