"""Memory that tensors of a CPU free is kept for the next ones, where the C library can."""

from __future__ import annotations

import ctypes
import os
import sys

# From <malloc.h> of the GNU C library.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST_INT = 2**31 - 1
VARIABLE = "SEGKIT_KEEP_FREED_MEMORY"


def keep_freed_memory() -> bool:
    """Has this process and its children keep what they free, and returns whether they do.

    The GNU C library gives large blocks back to the system as they are freed. The next step of a
    training asks for the same ones, and the system maps and clears them page by page: as soon as
    maps exceed 32 MiB that takes its time, on virtual machines above all (`segkit bench allocator`
    measures it). Kept, the process stays as large as it was at its largest, and a tenth to a fifth
    larger for gaps. For commands, which own their process; a library leaves it alone.

    SEGKIT_KEEP_FREED_MEMORY=0 leaves it to the system, as do other C libraries.
    """
    if sys.platform != "linux" or os.environ.get(VARIABLE) == "0":
        return False
    adjust = getattr(ctypes.CDLL(None), "mallopt", None)
    # -1 would mean the usual threshold; the largest is never reached.
    return adjust is not None and bool(
        adjust(M_MMAP_MAX, 0) and adjust(M_TRIM_THRESHOLD, LARGEST_INT)
    )
