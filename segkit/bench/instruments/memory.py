"""How much memory this process needed: the peak of its resident set, above an idle level.

Linux keeps the peak itself (VmHWM in /proc/self/status) and forgets it on request (5 written to
/proc/self/clear_refs), so nothing between two samples is missed. Where that cannot be had, a thread
samples the resident set every millisecond.
"""

from __future__ import annotations

import ctypes
import gc
import re
import sys
import threading
from pathlib import Path

STATUS = Path("/proc/self/status")
FORGET = Path("/proc/self/clear_refs")
SAMPLING_SECONDS = 0.001


class ResidentPeak:
    """The most memory the process holds from `reset` on, in bytes."""

    def __init__(self) -> None:
        self.by_kernel = _can_forget()
        self._sampler: _Sampler | None = None

    @property
    def method(self) -> str:
        if self.by_kernel:
            return "peak resident set of the process, by the kernel (VmHWM)"
        return "peak resident set of the process, sampled every millisecond"

    def reset(self) -> None:
        """Forgets the peak so far; from here on it is the present level at least."""
        if self.by_kernel:
            FORGET.write_text("5")
            return
        self._sampler = _Sampler()
        self._sampler.start()

    def read(self) -> int:
        """The peak since `reset`."""
        if self.by_kernel:
            return _field("VmHWM")
        if self._sampler is None:
            return resident()
        return self._sampler.stopped()


def resident() -> int:
    """The process's resident set now, bytes."""
    if STATUS.is_file():
        return _field("VmRSS")
    import resource

    # What other systems tell without a package is the peak since the start: in a fresh process
    # that has done little, about the same.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def give_back() -> None:
    """Collects garbage and returns what the C library keeps of freed memory to the system."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _field(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{STATUS} holds no {name}")
    return int(found[1]) * 1024


def _can_forget() -> bool:
    try:
        FORGET.write_text("5")
        return _field("VmHWM") > 0
    except (OSError, RuntimeError):
        return False


class _Sampler(threading.Thread):
    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.highest = resident()
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(SAMPLING_SECONDS):
            self.highest = max(self.highest, resident())

    def stopped(self) -> int:
        self._end.set()
        self.join()
        return max(self.highest, resident())
