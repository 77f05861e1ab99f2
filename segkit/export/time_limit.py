"""A limit for work that nobody can foretell: tracing takes seconds, or hours for a few networks."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Between two attempts to end what has run too long: code may catch the first.
PATIENCE_SECONDS = 1.0


class TimeIsUp(BaseException):
    """No Exception, because torch catches those and tries another way."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeIsUp in the block, at the next step of Python code, once so many seconds passed.

    By CPython's PyThreadState_SetAsyncExc: a signal would end the main thread's work alone, and
    Windows has none. One call into C is waited for, as Ctrl-C waits for it.
    """
    worker, over, lock = threading.get_ident(), threading.Event(), threading.Lock()

    def watch() -> None:
        pause = seconds
        while not over.wait(pause):
            with lock:
                if not over.is_set():
                    _raise_in(worker, TimeIsUp)
            pause = PATIENCE_SECONDS

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        while not over.is_set():
            with suppress(TimeIsUp), lock:
                over.set()
                _raise_in(worker, None)  # One that is on its way would hit what comes next.


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    raised = ctypes.py_object(kind) if kind else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
