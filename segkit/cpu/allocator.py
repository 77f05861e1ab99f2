"""Memory that is freed: kept for the next tensors or given back, where the C library can."""

from __future__ import annotations

import ctypes
import sys

# From <malloc.h> of the GNU C library.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Has this process keep what it frees, and returns whether it does: other C libraries cannot.

    The GNU C library gives large blocks back to the system as they are freed. The next step of a
    training asks for the same ones, and the system maps and clears them page by page: as soon as
    maps exceed 32 MiB that takes its time, on virtual machines above all (`segkit bench allocator`
    measures it). Kept, the process stays as large as it was at its largest, and a tenth to a fifth
    larger for gaps. It is for whoever owns the process: an option of the commands, off by default.
    """
    if sys.platform != "linux":
        return False
    adjust = getattr(ctypes.CDLL(None), "mallopt", None)
    # -1 would mean the usual threshold; the largest is never reached.
    return adjust is not None and bool(
        adjust(M_MMAP_MAX, 0) and adjust(M_TRIM_THRESHOLD, LARGEST_INT)
    )


def give_back_freed_memory() -> None:
    """Gives what is free between blocks in use back to the system; other C libraries do without.

    The GNU C library gives back by itself what lies above all blocks in use. Of a network that
    computes part after part of a large image the gaps below become more with every part: 10 MB for
    each of 1024 x 1024 pixels, while what is in use stays the same.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
