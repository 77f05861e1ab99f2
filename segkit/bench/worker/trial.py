"""One case inside its own process: built, measured for memory, checked, warmed up, timed in turns.

The order matters: memory first, in a pass of its own on a process that has done nothing else; then
the gate of correctness; times last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from segkit.bench.comparison.statistics import is_stable
from segkit.bench.instruments.instrument import Instrument, Mark, Step, instrument_for, unheard
from segkit.bench.instruments.memory import give_back, resident
from segkit.bench.records.case import Case
from segkit.bench.records.row import Memory
from segkit.bench.workloads.choice import workload_for
from segkit.bench.workloads.contract import Workload
from segkit.device import ran_out_of_memory
from segkit.errors import UsageError, first_line
from segkit.registry.faults import plugin_fault

MEMORY_STEPS = 2
WARM_UP_SECONDS, WARM_UP_STEPS = 4.0, 60
FEWEST_STEPS, MOST_STEPS = 2, 2000

Stage = Callable[[str], None]


class WrongOutput(Exception):
    """The output is outside the tolerance of the float64 reference."""


class Trial:
    """A case's life: `prepare` once, `turn` as often as asked, perhaps `trace`."""

    def __init__(self, case: Case) -> None:
        self.case = case
        if case.threads:
            torch.set_num_threads(case.threads)

    def prepare(self, stage: Stage) -> dict[str, Any]:
        """Everything before the first turn, and what it found, as fields of a Row.

        Raises WrongOutput, whatever the components raise, and UsageError for what cannot be.
        """
        self.instrument: Instrument = instrument_for(self.case.device)
        self.workload: Workload = workload_for(self.case)
        self.workload.load_code()
        touch_libraries(self.case.device)
        give_back()
        idle = resident()
        stage("building")
        start = time.perf_counter()
        self.workload.set_up()
        set_up = time.perf_counter() - start
        stage("first step")
        self.step = self._plain_step()
        first = self.instrument.measured(self.step)["step"]
        memory = self._memory(idle)
        found = self._gate(stage)
        stage("warming up")
        warm = self._warmed_up()
        return found | {
            "unit": self.workload.unit,
            "units_per_step": self.workload.units,
            "set_up_s": set_up,
            "first_step_s": first,
            "compile_s": max(first - warm[-1], 0.0) if self.case.compile == "yes" else None,
            "memory": memory.model_dump(),
            "warm_up_steps": len(warm),
            "clock": self.instrument.clock,
            "usual_step_s": warm[-1],
        }

    def turn(self, seconds: float) -> dict[str, Any]:
        """Steps for so many seconds, after one that wakes the machine and does not count."""
        self.instrument.measured(self.step)
        samples: dict[str, list[float]] = {}
        before = self.instrument.energy_joules()
        start, steps = time.perf_counter(), 0
        while steps < FEWEST_STEPS or (
            time.perf_counter() - start < seconds and steps < MOST_STEPS
        ):
            for phase, taken in self.instrument.measured(self.step).items():
                samples.setdefault(phase, []).append(taken)
            steps += 1
        after = self.instrument.energy_joules()
        self.instrument.release()
        joules = None if before is None or after is None else (after - before) / steps
        return {"samples": samples, "joules_per_step": joules}

    def trace(self, folder: Path, name: str) -> tuple[str, ...]:
        """A profile of a few steps, written into the folder."""
        return self.instrument.trace(self.step, folder, name)

    def _plain_step(self) -> Step:
        def step(mark: Mark) -> None:
            self.workload.load()
            mark("load")
            self.workload.work(mark)

        return step

    def _captured_step(self) -> Step:
        replay = self.instrument.captured(self.workload.work)

        def step(mark: Mark) -> None:
            self.workload.load()
            mark("load")
            replay(mark)

        return step

    def _memory(self, idle: int) -> Memory:
        """The peak of further steps, the optimizer's states being there from the first."""
        if self.case.compile == "yes" and torch.device(self.case.device).type == "cpu":
            # The compiler's own memory is no need of the step: the level after compiling is idle,
            # less what the network holds.
            give_back()
            idle = max(idle, resident() - self.workload.held_bytes())
        self.instrument.reset_peak()
        if self.case.compile == "graph":
            # A graph keeps a pool of its own, which counts.
            self.step = self._captured_step()
        for _ in range(MEMORY_STEPS):
            self.step(unheard)
        return Memory.model_validate(self.instrument.peak(idle))

    def _gate(self, stage: Stage) -> dict[str, Any]:
        """Correctness, which must hold, and counts; nothing for what has none."""
        found: dict[str, Any] = {}
        stage("checking")
        if checked := self.workload.check():
            if not checked.error <= checked.tolerance:
                raise WrongOutput(
                    f"the error is {checked.error:.2g}, more than {checked.tolerance:.2g} "
                    f"({checked.against})"
                )
            found["correctness"] = checked.model_dump()
        stage("counting")
        if counts := self.workload.count():
            found["counts"] = counts.model_dump()
        return found

    def _warmed_up(self) -> list[float]:
        """Steps until their median stands still, or time is up; their seconds."""
        seconds: list[float] = []
        start = time.perf_counter()
        while not is_stable(seconds) and len(seconds) < WARM_UP_STEPS:
            seconds.append(self.instrument.measured(self.step)["step"])
            if time.perf_counter() - start > WARM_UP_SECONDS and len(seconds) >= FEWEST_STEPS:
                break
        return seconds


def touch_libraries(device: str) -> None:
    """Has the math libraries load what they load on first use, so that it counts as idle."""
    layer = torch.nn.Conv2d(8, 8, 3, padding=1).to(device)
    image_BCHW = torch.randn(2, 8, 32, 32, device=device)
    for contents in (image_BCHW, image_BCHW.contiguous(memory_format=torch.channels_last)):
        layer(contents).relu().sum().backward()
    torch.optim.AdamW(layer.parameters()).step()


def failure(error: BaseException) -> Mapping[str, str]:
    """Status and reason of a case that raised."""
    from segkit.errors import SegkitError

    first = first_line(error)
    if isinstance(error, WrongOutput):
        return {"status": "wrong", "reason": str(error)}
    if ran_out_of_memory(error):
        return {"status": "oom", "reason": first}
    if isinstance(error, SegkitError):
        return {"status": "refused", "reason": f"{error.code}: {error.what}"}
    if fault := plugin_fault(error):
        return {"status": "crashed", "reason": f"{fault.code}: {fault.what}"}
    return {"status": "crashed", "reason": f"{type(error).__name__}: {first}"}


def refuse_impossible(case: Case) -> None:
    """Raises UsageError SK-C007 for settings that exclude one another, before anything is built."""
    if case.task in ("data", "benchmark"):
        return
    kind = torch.device(case.device).type
    if case.task == "onnx" and kind != "cpu":
        raise UsageError(
            "SK-C007", f"{case.onnx} is run on the CPU, not on {kind}.", "Add --device cpu."
        )
    if case.precision == "fp16" and kind == "cpu":
        raise UsageError(
            "SK-C007", "fp16 is emulated on a CPU and measures nothing.", "Use bf16 or fp32."
        )
    if case.compile == "graph" and kind != "cuda":
        raise UsageError(
            "SK-C007", f"a CUDA graph cannot be replayed on {kind}.", "Use --compile no,yes."
        )
    if case.compile != "no" and case.task != "network":
        raise UsageError(
            "SK-C007", f"the task {case.task} is not compiled.", "Leave --compile out."
        )
