"""Times by CUDA events, memory by torch's allocator, energy by NVML, steps as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from segkit.api import UsageError
from segkit_bench_gpu.energy import EnergyCounter
from segkit_bench_gpu.timeline import draw_timeline, recorded_events

Mark = Callable[[str], None]
Step = Callable[[Mark], None]

# torch's own advice: a few steps on another stream, so that libraries have made their workspaces.
WARM_UP_STEPS = 3
TRACED_STEPS = 3


class CudaInstrument:
    """One GPU's times, memory and energy.

    cuda   torch.cuda, or what stands in for it in a test
    """

    clock = "CUDA events"

    def __init__(self, device: str, cuda: Any = torch.cuda) -> None:
        self.device, self.cuda = torch.device(device), cuda
        self.energy = EnergyCounter.of(self.device)

    def measured(self, step: Step) -> Mapping[str, float]:
        """Runs one step; seconds between the events of its phases, on the GPU's own clock."""
        start, events = self._event(), list[tuple[str, Any]]()

        def mark(phase: str) -> None:
            events.append((phase, self._event()))

        step(mark)
        end = self._event()
        end.synchronize()
        seconds = {"step": start.elapsed_time(end) / 1e3}
        before = start
        for phase, event in events:
            seconds[phase] = before.elapsed_time(event) / 1e3
            before = event
        return seconds

    def reset_peak(self) -> None:
        self.cuda.synchronize(self.device)
        self.cuda.reset_peak_memory_stats(self.device)

    def peak(self, idle_bytes: int) -> Mapping[str, Any]:
        """The most memory allocated, which is what a step needs; reserved is what torch took."""
        self.cuda.synchronize(self.device)
        allocated = self.cuda.max_memory_allocated(self.device)
        return {
            "peak_bytes": allocated,
            "idle_bytes": idle_bytes,
            "allocated_bytes": allocated,
            "reserved_bytes": self.cuda.max_memory_reserved(self.device),
            "method": "torch.cuda.max_memory_allocated",
        }

    def energy_joules(self) -> float | None:
        """The GPU's counter since its driver was loaded; None without NVML."""
        return self.energy.joules() if self.energy is not None else None

    def captured(self, step: Step) -> Step:
        """The step as a graph: a replay runs the same kernels on the same addresses.

        Raises UsageError SK-C007 where the step waits for the host, which a graph cannot.
        """
        stream = self.cuda.Stream(self.device)
        stream.wait_stream(self.cuda.current_stream(self.device))
        with self.cuda.stream(stream):
            for _ in range(WARM_UP_STEPS):
                step(_ignored)
        self.cuda.current_stream(self.device).wait_stream(stream)
        graph = self.cuda.CUDAGraph()
        try:
            with self.cuda.graph(graph):
                step(_ignored)
        except RuntimeError as error:
            raise UsageError(
                "SK-C007",
                f"the step cannot be recorded as a CUDA graph ({str(error).splitlines()[0]}).",
                "It waits for the host: choose another loss, or --compile no,yes.",
            ) from error

        def replay(mark: Mark) -> None:
            graph.replay()

        return replay

    def trace(self, step: Step, folder: Path, name: str) -> tuple[str, ...]:
        """A Chrome trace of three steps, and a picture of the memory of one."""
        from torch.profiler import ProfilerActivity, profile

        activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
        with profile(activities=activities, record_shapes=True) as profiler:
            for _ in range(TRACED_STEPS):
                step(_ignored)
            self.cuda.synchronize(self.device)
        trace = folder / f"{name}.trace.json.gz"
        profiler.export_chrome_trace(str(trace))
        before = self.cuda.memory_allocated(self.device)
        events = recorded_events(lambda: step(_ignored), self.device, self.cuda)
        picture = folder / f"{name}.memory.png"
        draw_timeline(events, before, picture)
        return (trace.name, picture.name)

    def release(self) -> None:
        self.cuda.empty_cache()

    def _event(self) -> Any:
        event = self.cuda.Event(enable_timing=True)
        event.record()
        return event


def _ignored(phase: str) -> None:
    """Marks of a step whose times nobody takes."""
