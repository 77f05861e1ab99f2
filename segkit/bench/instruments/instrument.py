"""What takes times, memory and energy on a device.

A device's own instrument comes from an installed package: an entry point in the group
`segkit.instruments`, named after the device type, whose value is a module with
`instrument(device: str) -> Instrument`. Without one, clocks are synchronised and memory is asked of
torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from segkit.bench.instruments.memory import ResidentPeak
from segkit.errors import EnvironmentFault
from segkit.registry.extras import declared, imported

GROUP = "segkit.instruments"

Mark = Callable[[str], None]
Step = Callable[[Mark], None]


class Instrument(Protocol):
    """Takes one device's times, memory and energy.

    clock    what takes the times, in words
    """

    clock: str

    def measured(self, step: Step) -> Mapping[str, float]:
        """Runs one step; seconds of each phase it marked, and of the whole as "step"."""

    def reset_peak(self) -> None:
        """Begins a pass that measures memory."""

    def peak(self, idle_bytes: int) -> Mapping[str, Any]:
        """The memory needed since `reset_peak`, as fields of segkit.bench.records.row.Memory."""

    def energy_joules(self) -> float | None:
        """A counter of the energy used so far, or None where there is none."""

    def captured(self, step: Step) -> Step:
        """The step as a recording to be replayed; raises EnvironmentFault where it cannot be."""

    def trace(self, step: Step, folder: Path, name: str) -> tuple[str, ...]:
        """Profiles a few steps; the files written into the folder, by name."""

    def release(self) -> None:
        """Returns memory that is kept for later use, so that other processes may have it."""


class ClockInstrument:
    """The CPU's clock; on other devices, waiting for the device at every mark."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        asynchronous = self.device.type != "cpu"
        self.clock = "perf_counter" + (", device synchronised at every phase" * asynchronous)
        self._wait = getattr(torch, self.device.type).synchronize if asynchronous else _nothing
        self._peak = ResidentPeak()

    def measured(self, step: Step) -> Mapping[str, float]:
        marks: list[tuple[str, float]] = []

        def mark(phase: str) -> None:
            self._wait()
            marks.append((phase, time.perf_counter()))

        self._wait()
        start = time.perf_counter()
        step(mark)
        self._wait()
        seconds = {"step": time.perf_counter() - start}
        for phase, moment in marks:
            seconds[phase] = moment - start
            start = moment
        return seconds

    def reset_peak(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self._peak.reset()

    def peak(self, idle_bytes: int) -> Mapping[str, Any]:
        resident_peak = max(self._peak.read() - idle_bytes, 0)
        if self.device.type != "cuda":
            return {
                "peak_bytes": resident_peak,
                "idle_bytes": idle_bytes,
                "method": self._peak.method,
            }
        allocated = torch.cuda.max_memory_allocated(self.device)
        return {
            "peak_bytes": allocated,
            "idle_bytes": idle_bytes,
            "allocated_bytes": allocated,
            "reserved_bytes": torch.cuda.max_memory_reserved(self.device),
            "method": "torch.cuda.max_memory_allocated",
        }

    def energy_joules(self) -> float | None:
        return None

    def captured(self, step: Step) -> Step:
        raise EnvironmentFault(
            "SK-E003",
            f"a step on {self.device.type} cannot be captured and replayed here.",
            "CUDA graphs need a CUDA device and segkit-bench-gpu: "
            "python -m pip install segkit-bench-gpu.",
        )

    def trace(self, step: Step, folder: Path, name: str) -> tuple[str, ...]:
        """A Chrome trace of three steps, for chrome://tracing or Perfetto."""
        from torch.profiler import ProfilerActivity, profile

        activities = [ProfilerActivity.CPU]
        if self.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        with profile(activities=activities, record_shapes=True) as profiler:
            for _ in range(3):
                step(unheard)
            self._wait()
        file = folder / f"{name}.trace.json.gz"
        profiler.export_chrome_trace(str(file))
        return (file.name,)

    def release(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def instrument_for(device: str) -> Instrument:
    """The device's own instrument where a package offers one, else the clock."""
    kind = torch.device(device).type
    point = declared(GROUP).get(kind)
    if point is None:
        return ClockInstrument(device)
    found: Instrument = imported(point, f"measures on {kind}").instrument(device)
    return found


def _nothing() -> None:
    """A CPU has done its work when the call returns."""


def unheard(phase: str) -> None:
    """Marks of a step whose times nobody takes."""
