"""Jobs that run this very segkit, and what each needs."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from segkit.interfaces import Job

# What a machine elsewhere is to know too: offline, disabled plugins, where caches lie.
PASSED_ON = ("SEGKIT_", "HF_")
LONGEST_NAME = 100


@dataclass(frozen=True)
class Needs:
    """What every job of a command needs; see `segkit.interfaces.Job`."""

    processes: int = 1
    gpus: int | None = None
    cpus: int | None = None
    memory_gib: float | None = None
    minutes: float | None = None


def segkit_job(name: str, words: Sequence[str], log: Path, needs: Needs) -> Job:
    """The job `segkit WORDS`, in this folder, with this Python and the variables that steer it."""
    return Job(
        name=name,
        command=(sys.executable, "-m", "segkit", *words),
        folder=Path.cwd(),
        log=log.absolute(),
        environment=_passed_on(os.environ),
        processes=needs.processes,
        gpus=needs.gpus,
        cpus=needs.cpus,
        memory_gib=needs.memory_gib,
        minutes=needs.minutes,
    )


def plain_name(text: str) -> str:
    """A name that any file system and any scheduler takes, alike only for texts that are alike.

    Where a text loses something, eight digits of its SHA-256 stand for it.
    """
    plain = re.sub(r"[^A-Za-z0-9.+=_-]+", "-", text).strip("-._")[:LONGEST_NAME]
    plain = plain if plain[:1].isalnum() else f"x{plain}"
    return plain if plain == text else f"{plain}-{sha256(text.encode()).hexdigest()[:8]}"


def _passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(PASSED_ON)}
