"""What a process is about to do to a folder's files, told by Python's audit events before each."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

Tell = Callable[[str, str], None]
WRITES = os.O_WRONLY | os.O_RDWR
# By audit event: our name, and which of its arguments is the path; a rename is told of its target.
NAMES = {
    "open": ("write", 0),
    "os.mkdir": ("mkdir", 0),
    "os.rename": ("rename", 1),
    "os.link": ("link", 1),
    "os.remove": ("remove", 0),
    "shutil.rmtree": ("rmtree", 0),
}
_telling: list[tuple[str, Tell]] = []
_hooks: list[object] = []


@contextlib.contextmanager
def watched(folder: Path, tell: Tell) -> Iterator[None]:
    """Calls tell("mkdir", path) and the like before each change; path is below the folder."""
    if not _hooks:  # one stays for as long as the process
        sys.addaudithook(_hook)
        _hooks.append(_hook)
    _telling.append((f"{folder}{os.sep}", tell))
    try:
        yield
    finally:
        _telling.clear()


def _hook(event: str, arguments: tuple) -> None:
    if not _telling or event not in NAMES:
        return
    if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITES):
        return
    name, place = NAMES[event]
    path = str(arguments[place])
    if event == "os.remove" and arguments[1] != -1:  # a name in an open folder: in shutil.rmtree
        path = f"{Path(f'/proc/self/fd/{arguments[1]}').readlink()}/{path}"
    prefix, tell = _telling[0]
    if path.startswith(prefix):
        _telling.clear()  # what is done meanwhile is not told
        try:
            tell(name, path.removeprefix(prefix))
        finally:
            _telling.append((prefix, tell))
