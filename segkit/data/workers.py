"""The processes that read data: started so that none outlives its parent, and watched.

none is left over    each waits in a thread for the process it reads for, and ends with it
one is killed        StorageError SK-S004 names the process and the sample it was reading
one hangs            likewise, after LONGEST_WAIT seconds in which no batch came
signals              those that end or question a training are its own affair (segkit.training)
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children, get_all_start_methods, get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

import cv2
import torch
from torch.utils.data import get_worker_info

from segkit.errors import SegkitError, StorageError, first_line

START_METHOD = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
# Seconds in which a batch of the largest images comes from a slow disk many times over.
LONGEST_WAIT = 300.0
# Two numbers a worker: its process, and the sample it is reading, counted from 1 (0: none).
PROCESS, SAMPLE, NUMBERS = 0, 1, 2
OF_THE_TRAINING = ("SIGINT", "SIGHUP", "SIGUSR1")

Found = TypeVar("Found")


class Notes:
    """What each worker is doing, in memory that it shares with the process it reads for."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.table = get_context(START_METHOD).RawArray("q", NUMBERS * workers) if workers else None

    def reading(self, index: int) -> None:
        """Notes, in a worker, the sample that is read next."""
        worker = get_worker_info()
        if self.table is not None and worker is not None:
            self.table[worker.id * NUMBERS + PROCESS] = os.getpid()
            self.table[worker.id * NUMBERS + SAMPLE] = index + 1

    def done(self) -> None:
        """Notes that nothing is read until the next call of `reading`."""
        worker = get_worker_info()
        if self.table is not None and worker is not None:
            self.table[worker.id * NUMBERS + SAMPLE] = 0

    def __iter__(self) -> Iterator[tuple[int, int | None]]:
        """(process, sample or None) of each worker that has read anything yet."""
        table = self.table
        for first in range(0, self.workers * NUMBERS, NUMBERS):
            if table is not None and table[first + PROCESS]:
                yield (
                    table[first + PROCESS],
                    table[first + SAMPLE] - 1 if table[first + 1] else None,
                )


def watched(
    batches: Iterable[Found], notes: Notes, name_of: Callable[[int], str]
) -> Iterator[Found]:
    """The batches; raises StorageError SK-S004 where a worker was killed, or hangs.

    name_of   the name of a sample, by its index
    """
    if not notes.workers:
        yield from batches
        return
    watch = _Watch(notes)
    try:
        coming = iter(batches)
        while True:
            with watch.waiting():
                batch = next(coming, None)
            if batch is None:
                return
            yield batch
    # A connection that breaks while a tensor is handed over has many names.
    except (RuntimeError, OSError, EOFError, AssertionError) as error:
        lost = watch.lost()
        if isinstance(error, SegkitError) or not (lost or _is_of_workers(error)):
            raise
        raise _killed(lost, watch.hanging, name_of, error) from error
    finally:
        watch.over.set()


class _Watch:
    """A thread that ends the workers where no batch came for LONGEST_WAIT seconds.

    It counts its own seconds, so that a process that was stopped and goes on ends nobody.
    """

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.over = threading.Event()
        self.hanging: list[tuple[int, int | None]] = []
        self._asked, self._waits = 0, False
        threading.Thread(target=self._run, name="segkit-watch", daemon=True).start()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around the wait for one batch."""
        self._asked, self._waits = self._asked + 1, True
        try:
            yield
        finally:
            self._waits = False

    def lost(self) -> list[tuple[int, int | None]]:
        """The workers that are no longer there; a death may take a moment to be known."""
        if self.hanging:
            return self.hanging
        for _ in range(10):
            alive = {each.pid for each in active_children()}
            if lost := [each for each in self.notes if each[0] not in alive]:
                return lost
            time.sleep(0.05)
        return []

    def _run(self) -> None:
        waited, asked, tick = 0.0, 0, min(1.0, LONGEST_WAIT / 4)
        while not self.over.wait(tick):
            waited = waited + tick if self._waits and asked == self._asked else 0.0
            asked = self._asked
            if waited >= LONGEST_WAIT:
                self._end_workers()
                return

    def _end_workers(self) -> None:
        workers = list(self.notes)
        self.hanging = [each for each in workers if each[1] is not None] or workers
        processes = {process for process, _ in self.hanging}
        for each in active_children():
            if each.pid in processes:
                each.kill()


def _is_of_workers(error: BaseException) -> bool:
    """Whether an error came of a worker's end, not out of its work, which torch words otherwise."""
    if str(error).startswith("Caught "):
        return False
    return "DataLoader worker" in str(error) or isinstance(error, ConnectionError | EOFError)


def _killed(
    lost: list[tuple[int, int | None]],
    hanging: list[tuple[int, int | None]],
    name_of: Callable[[int], str],
    error: BaseException,
) -> StorageError:
    where = "; ".join(
        f"process {process} {'between samples' if index is None else f'at {name_of(index)}'}"
        for process, index in lost
    )
    if hanging:
        return StorageError(
            "SK-S004",
            f"no batch came from the processes that read data for {LONGEST_WAIT:g} seconds "
            f"({where}); they were ended.",
            "Look whether that file can be read, and whether its disk answers; then continue with "
            "--resume.",
        )
    return StorageError(
        "SK-S004",
        f"a process that reads data was killed ({where or 'before its first sample'}: "
        f"{first_line(error)}).",
        "Its memory or /dev/shm ran out, or that file crashes its decoder: look at the file; use "
        "fewer --workers (0 reads in the training process), or `docker run --shm-size=2g`.",
    )


def worker_context(module: str) -> BaseContext:
    """How workers that run `module` start: forked from a server without this process's threads.

    A fork of this process copies locks that other threads (OpenCV's, a progress bar's) may hold.
    """
    context = get_context(START_METHOD)
    if START_METHOD == "forkserver":
        from multiprocessing.forkserver import ensure_running

        # The server imports the reader and torch once, and every worker starts from there.
        context.set_forkserver_preload([module])
        _ignoring_signals(ensure_running)
    return context


def start_worker(_: int) -> None:
    """In a new worker: one thread, and an end with its parent's."""
    for name in OF_THE_TRAINING:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="segkit-parent", daemon=True).start()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _ignoring_signals(start: Callable[[], Any]) -> None:
    """Starts a process that ignores what a terminal or a scheduler sends to the whole group."""
    if threading.current_thread() is not threading.main_thread():
        start()
        return
    numbers = [getattr(signal, name) for name in OF_THE_TRAINING if hasattr(signal, name)]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        start()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
