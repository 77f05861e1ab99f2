"""Images side by side on a CPU: a thread with a core of its own for each, in place of all for one.

A network's small maps do not keep several threads busy, and every operation waits for the last of
them. Images that do not depend on one another need not wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor

Given = TypeVar("Given")
Items = TypeVar("Items", bound="Sequence[Any] | Tensor")
Result = TypeVar("Result")


def streams_of(device: torch.device) -> int:
    """How many images are best computed side by side: as many as torch has threads on a CPU."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def shared_out(items: Items, streams: int) -> list[Items]:
    """The items in order, in as many equal parts as there are streams, or fewer."""
    parts = max(min(len(items), streams), 1)
    edges = [round(part * len(items) / parts) for part in range(parts + 1)]
    shares: list[Any] = [items[start:end] for start, end in pairwise(edges)]
    return shares


def in_threads(function: Callable[[Given], Result], parts: Sequence[Given]) -> list[Result]:
    """The function of every part, each in a thread that computes by itself; the first error rises.

    No gradient is kept. Autocast and inference_mode are as in the thread that calls.
    """
    if len(parts) == 1:
        return [function(parts[0])]
    inference, autocast = torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
    computed = torch.get_autocast_dtype("cpu")

    def alone(part: Given) -> Result:
        with (
            torch.inference_mode(inference),
            torch.no_grad(),  # after inference_mode(False), which switches gradients on
            torch.autocast("cpu", computed, enabled=autocast),
        ):
            return function(part)

    return list(_threads(len(parts)).map(alone, parts))


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    usual = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        count, thread_name_prefix="segkit-stream", initializer=torch.set_num_threads, initargs=(1,)
    )
    # The setting is a thread's own, but new threads take the one that was set last.
    for waiting in [pool.submit(torch.get_num_threads) for _ in range(count)]:
        waiting.result()
    torch.set_num_threads(usual)
    return pool
