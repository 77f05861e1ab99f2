"""What this machine has for jobs: GPUs, cores, memory."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

GIB = 2**30
ASK_SECONDS = 20


@dataclass(frozen=True)
class Machine:
    """What may be given to jobs.

    gpus         as CUDA_VISIBLE_DEVICES names them
    memory_gib   None where the system does not say
    """

    gpus: tuple[str, ...]
    cpus: int
    memory_gib: float | None

    @classmethod
    def this(cls) -> Machine:
        """As this process may use it."""
        return cls(_gpus(), _cpus(), _memory_gib())


def _gpus() -> tuple[str, ...]:
    """Those of CUDA_VISIBLE_DEVICES, or all that the driver's own program lists."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(each.strip() for each in visible.split(",") if each.strip() not in ("", "-1"))
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=ASK_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    lines = listed.stdout.splitlines() if listed.returncode == 0 else []
    return tuple(str(at) for at, line in enumerate(each for each in lines if each[:4] == "GPU "))


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> float | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    except (AttributeError, OSError, ValueError):
        return None
