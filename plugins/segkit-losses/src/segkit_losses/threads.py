"""Work side by side in threads of Python, each of which computes on one core.

torch's own threads meet after every operation: on the small tiles used here that costs more than it
gains, and on a busy machine many times as much. Python's lock is free while torch computes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch

R = TypeVar("R")


def side_by_side(
    work: Callable[[Iterator[Any]], R], shares: Callable[[int], list[Iterator[Any]]]
) -> list[R]:
    """work(share) for every share, in as many threads as torch would use; results in order."""
    threads = torch.get_num_threads()
    dealt = shares(threads)
    if len(dealt) == 1:
        return [work(dealt[0])]
    done: dict[int, R] = {}
    failed: list[BaseException] = []

    def run(place: int) -> None:
        try:
            # What a thread records for gradients is its own affair; here nothing is to be.
            with torch.no_grad():
                done[place] = work(dealt[place])
        except BaseException as error:
            failed.append(error)

    helpers = [threading.Thread(target=run, args=(place,)) for place in range(1, len(dealt))]
    # Threads that begin now take the number over; this one has its own back in the end.
    torch.set_num_threads(1)
    try:
        for each in helpers:
            each.start()
        run(0)
        for each in helpers:
            each.join()
    finally:
        torch.set_num_threads(threads)
    if failed:
        raise failed[0]
    return [done[place] for place in range(len(dealt))]
