"""Asks about plugins in a process of its own: one that hangs, crashes or prints harms nobody.

`ask` starts `python -m MODULE`, a module of segkit that ends in `serve(answer)`, and hands it one
argument after the other. Where the process ends or does not answer in time, that argument has no
answer, and a new process goes on with the next. What was answered is kept in the user's cache
folder until a plugin, segkit or what is installed changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import IO, Any

from segkit.registry.index import Index

# An answer takes milliseconds to seconds; to import torch and a plugin takes longer.
ANSWER_SECONDS, START_SECONDS = 60.0, 120.0
# A silence may be the machine's fault: it is believed for so long.
FAILURE_SECONDS = 600.0
Argument = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What came back for one argument.

    value    plain data, where `failure` is empty
    failure  what became of the process, as "ended the interpreter (status -11)"
    """

    value: Any = None
    failure: str = ""


def ask(
    module: str, arguments: Sequence[Argument], seconds: float = ANSWER_SECONDS
) -> list[Answer]:
    """An answer to each argument, from the cache or from a process that `module` serves.

    seconds   for one answer; the first one of a process has START_SECONDS more
    """
    files = [_file(module, argument) for argument in arguments]
    known = [_remembered(file) for file in files]
    asked: _Process | None = None
    answers = []
    for argument, file, answer in zip(arguments, files, known, strict=True):
        if answer is None:
            asked = asked or _Process(module)
            answer = asked.answer(argument, seconds)
            _remember(file, answer)
            if answer.failure:
                asked.end()
                asked = None
        answers.append(answer)
    if asked is not None:
        asked.end()
    return answers


def serve(answer: Callable[[Argument], Any]) -> None:
    """The other end: answers every line of standard input; what else is printed is kept apart."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Prints of a plugin, of its C code too, go where errors go.
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()


class _Process:
    def __init__(self, module: str) -> None:
        self.printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `end`
        seen = os.pathsep.join(path for path in sys.path if path)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.printed,
            env=os.environ | {"PYTHONPATH": seen},
            text=True,
            encoding="utf-8",
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self.slack = START_SECONDS
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.lines.put(line)
        self.lines.put("")

    def answer(self, argument: Argument, seconds: float) -> Answer:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended: the empty line says so
            self.process.stdin.write(json.dumps(argument) + "\n")
            self.process.stdin.flush()
        try:
            line = self.lines.get(timeout=seconds + self.slack)
        except queue.Empty:
            return Answer(failure=f"gave no answer within {seconds + self.slack:g} s")
        self.slack = 0.0
        if not line:
            status = self.process.wait()
            return Answer(failure=f"ended the interpreter (status {status}{self._last_words()})")
        return Answer(json.loads(line))

    def _last_words(self) -> str:
        self.printed.seek(0)
        lines = self.printed.read().decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1][:200]}" if lines else ""

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.printed.close()


def _file(module: str, argument: Argument) -> Path:
    text = json.dumps([module, argument, fingerprint()], sort_keys=True)
    return _folder() / f"{hashlib.sha256(text.encode()).hexdigest()}.json"


def _folder() -> Path:
    given, base = os.environ.get("SEGKIT_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if given:
        return Path(given) / "plugins"
    return (Path(base) if base else Path.home() / ".cache") / "segkit" / "plugins"


def _remembered(file: Path) -> Answer | None:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        if known["failure"] and time.time() - file.stat().st_mtime > FAILURE_SECONDS:
            return None
        return Answer(known["value"], known["failure"])
    except (OSError, ValueError, KeyError):
        return None


def _remember(file: Path, answer: Answer) -> None:
    # A cache that cannot be written costs time alone.
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        work = file.with_suffix(f".{os.getpid()}")
        work.write_text(json.dumps(vars(answer)), encoding="utf-8")
        work.replace(file)


def fingerprint() -> str:
    """Changes with every file of segkit and of the plugins, and with what is installed."""
    entries = Index.of_installed().entries
    tops = {entry.module.partition(":")[0].partition(".")[0] for entry in entries}
    seen = [sys.version, *sorted(f"{e.qualified} {e.version} {e.state}" for e in entries)]
    seen += [f"{Path(__file__)}", *_stamps(Path(__file__).parents[1])]
    for top in sorted(tops):
        found = PathFinder.find_spec(top)
        for place in (found.submodule_search_locations or ()) if found else ():
            seen += _stamps(Path(place))
        if found and found.origin and not found.submodule_search_locations:
            seen += _stamps(Path(found.origin))
    seen += _installed(tuple(sys.path))
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()


@cache
def _installed(path: tuple[str, ...]) -> list[str]:
    folders = [Path(each) for each in path if each]
    return sorted(p.name for folder in folders for p in folder.glob("*.dist-info"))


def _stamps(place: Path) -> list[str]:
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    stats = ((file, file.stat()) for file in files if file.exists())
    return [f"{file} {stat.st_size} {stat.st_mtime_ns}" for file, stat in stats]
