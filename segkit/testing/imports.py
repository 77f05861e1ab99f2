"""What importing a plugin may do to the process: nothing. Asked in a process of its own.

`python -m segkit.testing.imports DISTRIBUTION` prints a JSON list of findings, which both
`segkit plugins --check` and the conformance kit read.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any
from unittest import mock

from segkit.errors import PluginError, SegkitError, UsageError
from segkit.registry.components import Registry
from segkit.registry.index import Entry, Index
from segkit.testing.subject import Subject, require

PROBE_SECONDS = 120
# Not what a machine has by chance: a plugin that sets 1 or the number of cores is seen.
SENTINEL_THREADS = 3


@dataclass(frozen=True)
class Finding:
    """What is wrong with a plugin, and which entry of it showed that ("" where it is the whole)."""

    entry: str
    cause: str
    fix: str = ""


def import_leaves_the_process_alone(subject: Subject) -> None:
    """Importing the plugin leaves random states, dtype and threads alone, and opens no socket.

    Mend: move what the module does at its top level into the component; `segkit plugins --check`
    says the same for every plugin installed.
    """
    entry = subject.component.entry
    findings = probe(entry.distribution)
    require(not findings, "; ".join(f"{f.entry}: {f.cause}" for f in findings))


def unknown_option_is_refused(subject: Subject) -> None:
    """An option that does not exist is refused by name; nothing swallows it.

    Mend: take no **kwargs: name every option as a keyword-only parameter with annotation and
    default.
    """
    try:
        subject.registry.component(subject.kind, subject.expression, {"no_such_option": 1})
    except UsageError as error:
        require(error.code == "SK-C005", f"an unknown option was refused with {error}")
    except PluginError as error:
        require(False, error.what)
    else:
        require(False, "the option 'no_such_option' was accepted")


CHECKS = (import_leaves_the_process_alone, unknown_option_is_refused)


@cache
def probe(distribution: str, seconds: float = PROBE_SECONDS) -> tuple[Finding, ...]:
    """What goes wrong when a distribution's plugins are imported, in a process of their own."""
    command = [sys.executable, "-P", "-m", "segkit.testing.imports", distribution]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return (Finding("", f"its import did not end within {seconds:g} s"),)
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return (Finding("", f"the process ended with status {done.returncode} ({last})"),)
    return tuple(Finding(**found) for found in json.loads(lines[-1].removeprefix(MARK)))


# Plugins may print while they are imported; the findings are on the line that starts with this.
MARK = "segkit-findings: "


@contextmanager
def recorded_connections() -> Iterator[list[str]]:
    """Refuses every connection and look-up of a name in this process, and lists what was asked."""
    import socket

    asked: list[str] = []

    def refuse(*arguments: Any, **_: Any) -> None:
        wanted = next((a for a in arguments if not isinstance(a, socket.socket)), "?")
        asked.append(str(wanted))
        raise OSError(f"no connections in this check (asked for {wanted})")

    with (
        mock.patch.object(socket.socket, "connect", refuse),
        mock.patch.object(socket.socket, "connect_ex", refuse),
        mock.patch.object(socket, "getaddrinfo", refuse),
        mock.patch.object(socket, "gethostbyname", refuse),
    ):
        yield asked


def examine(entries: tuple[Entry, ...], registry: Registry) -> list[Finding]:
    """Loads each entry in this very process; findings in the order of the entries."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(SENTINEL_THREADS)
    findings: list[Finding] = []
    try:
        for entry in entries:
            before = process_state()
            with recorded_connections() as asked:
                findings += _resolved(entry, registry)
            after = process_state()
            changed = [name for name, value in before.items() if after[name] != value]
            if changed:
                findings.append(Finding(_name(entry), f"its import changes {', '.join(changed)}"))
            if asked:
                findings.append(Finding(_name(entry), f"its import connects to {asked[0]}"))
            if not findings or findings[-1].entry != _name(entry):
                findings += _built(entry, registry)
    finally:
        torch.set_num_threads(threads)
    return findings


def process_state() -> dict[str, Any]:
    """What an import must leave alone, by the name it has in a message."""
    import random

    import numpy as np
    import torch

    read: dict[str, Callable[[], Any]] = {
        "torch's random state": lambda: torch.get_rng_state().numpy().tobytes(),
        "numpy's random state": lambda: str(np.random.get_state()),
        "Python's random state": random.getstate,
        "torch's default dtype": torch.get_default_dtype,
        "torch's default device": torch.get_default_device,
        "torch's number of threads": torch.get_num_threads,
        "torch's gradient mode": torch.is_grad_enabled,
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled,
        "cuDNN's benchmark mode": lambda: torch.backends.cudnn.benchmark,
        "torch's precision of matrix products": torch.get_float32_matmul_precision,
    }
    return {name: value() for name, value in read.items()}


def _resolved(entry: Entry, registry: Registry) -> list[Finding]:
    if entry.problem:
        return [Finding(_name(entry), entry.problem)]
    try:
        if not registry.members(entry):
            registry.component(entry.kind, f"{entry.distribution}:{entry.name}")
    except SegkitError as error:
        # A required option is no fault: the factory is there and its options were read.
        if error.code == "SK-C011":
            return []
        return [Finding(_name(entry), error.what, error.fix)]
    return []


def _built(entry: Entry, registry: Registry) -> list[Finding]:
    """What speaks against building the component as `segkit list` does; families go untried."""
    from segkit.describe.catalogue import capabilities

    if entry.problem or registry.members(entry):
        return []
    try:
        capabilities(registry.component(entry.kind, f"{entry.distribution}:{entry.name}"), registry)
    except SegkitError as error:
        if error.code == "SK-C011":
            return []
        return [Finding(_name(entry), error.what, error.fix)]
    except Exception as error:
        return [Finding(_name(entry), f"to build it fails ({type(error).__name__}: {error})")]
    return []


def _name(entry: Entry) -> str:
    return f"{entry.kind}/{entry.name}"


def main(distribution: str) -> None:
    index = Index.of_installed()
    entries = index.distributions().get(distribution, ())
    findings = examine(entries, Registry(index))
    sys.stdout.write(f"\n{MARK}{json.dumps([asdict(found) for found in findings])}\n")


if __name__ == "__main__":
    main(sys.argv[1])
