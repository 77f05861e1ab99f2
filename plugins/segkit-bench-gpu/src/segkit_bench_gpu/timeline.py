"""Allocated memory over time, from the events that torch's CUDA allocator records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

MOST_EVENTS = 200_000


def recorded_events(
    work: Callable[[], None], device: torch.device, cuda: Any = torch.cuda
) -> list[Mapping[str, Any]]:
    """What the allocator did during the work, in order."""
    cuda.memory._record_memory_history(max_entries=MOST_EVENTS, context=None)
    try:
        work()
        cuda.synchronize(device)
        traces = cuda.memory._snapshot(device)["device_traces"]
    finally:
        cuda.memory._record_memory_history(enabled=None)
    index = device.index if device.index is not None else 0
    return list(traces[index]) if index < len(traces) else []


def allocated_over_time(
    events: Sequence[Mapping[str, Any]], before: int = 0
) -> tuple[list[float], list[int]]:
    """Milliseconds since the first event, and bytes allocated after each.

    before   bytes allocated when recording began
    """
    times, levels = [0.0], [before]
    kept = [event for event in events if event["action"] in ("alloc", "free_completed")]
    for event in kept:
        sign = 1 if event["action"] == "alloc" else -1
        times.append((event["time_us"] - kept[0]["time_us"]) / 1e3)
        levels.append(levels[-1] + sign * event["size"])
    return times, levels


def draw_timeline(events: Sequence[Mapping[str, Any]], before: int, file: Path) -> None:
    """A picture of memory over one step; needs matplotlib, which segkit-core brings."""
    from matplotlib.figure import Figure

    times, levels = allocated_over_time(events, before)
    gibibytes = [level / 2**30 for level in levels]
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.fill_between(times, gibibytes, step="post", color="#4477AA", alpha=0.35, linewidth=0)
    axes.step(times, gibibytes, where="post", color="#4477AA", linewidth=1)
    highest = max(range(len(levels)), key=levels.__getitem__)
    axes.annotate(
        f"{gibibytes[highest]:.2f} GiB",
        (times[highest], gibibytes[highest]),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
    )
    axes.set(xlabel="milliseconds of the step", ylabel="GiB allocated", xmargin=0)
    axes.set_ylim(0, max(gibibytes) * 1.12 or 1)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)
