"""A case while it is measured: its worker, what that has answered, and the row it amounts to."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

from segkit.bench.comparison.statistics import (
    by_phase,
    noise,
    paired_ratio,
    round_ratios,
    shortened,
)
from segkit.bench.limits.roofline import achieved
from segkit.bench.records.case import Case
from segkit.bench.records.controls import ControlPair
from segkit.bench.records.machine import Ceilings
from segkit.bench.records.row import Counts, Memory, Row, Summary
from segkit.bench.runner.process import WorkerFailed, WorkerProcess


@dataclass
class MeasuredCase:
    """A case with its worker.

    found     what the worker found while it prepared
    control   whether this is the second process of a case that is measured twice (A/A)
    group     the number of the group of cases that share their rounds, from 1
    rounds    each round's seconds of every step, by phase
    joules    of a step, each round's mean, where the device tells
    lost      how the worker failed during the rounds
    turn_seconds   that its longest turn took
    """

    case: Case
    worker: WorkerProcess
    found: dict[str, Any]
    control: bool = False
    group: int = 0
    rounds: list[dict[str, list[float]]] = field(default_factory=list)
    joules: list[float] = field(default_factory=list)
    lost: WorkerFailed | None = None
    turn_seconds: float = 0.0
    files: tuple[str, ...] = ()

    def expected_turn(self, round_seconds: float) -> float:
        """Seconds that its next turn will take: the longest so far, or by the steps of a turn."""
        usual = float(self.found.get("usual_step_s", 0.0))
        return self.turn_seconds or max(round_seconds, 2 * usual) + usual

    @property
    def samples(self) -> dict[str, list[list[float]]]:
        """The seconds of every step, by phase and then round; loading the input is no phase."""
        phases = self.rounds[0] if self.rounds else {}
        return {
            phase: [each[phase] for each in self.rounds if phase in each]
            for phase in phases
            if phase != "load"
        }


def row_of(measured: MeasuredCase, ceilings: Ceilings | None, seed: int = 0) -> Row:
    """The row of a case, from its worker's answers."""
    found, case = measured.found, measured.case
    if measured.lost is not None:
        return Row(case=case, status=measured.lost.status, reason=measured.lost.reason)  # type: ignore[arg-type]
    samples = measured.samples
    times = by_phase(samples, seed)
    units = found["units_per_step"]
    joules = sum(measured.joules) / len(measured.joules) if measured.joules else None
    row = Row(
        case=case,
        status="ok",
        unit=found["unit"],
        units_per_step=units,
        times=times,
        steps=tuple(len(each) for each in samples["step"]),
        rounds=tuple(shortened(each) for each in samples["step"]),
        images_per_s=units / times["step"].median,
        memory=Memory.model_validate(found["memory"]),
        counts=Counts.model_validate(found["counts"]) if "counts" in found else None,
        compile_s=found["compile_s"],
        first_step_s=found["first_step_s"],
        set_up_s=found["set_up_s"],
        warm_up_steps=found["warm_up_steps"],
        noisy=noise(samples["step"], times["step"]),
        correctness=found.get("correctness"),
        energy_j_per_image=joules / units if joules is not None else None,
        clock=found["clock"],
        files=measured.files,
        group=measured.group,
    )
    return row.model_copy(update={"achieved": achieved(row, ceilings)})


def so_far(measured: MeasuredCase) -> Row:
    """What is known of a case before it is done: its median step without an interval, its memory.

    Before its first turn the step is that of the warm-up.
    """
    found = measured.found
    steps = [s for each in measured.rounds for s in each["step"]] or [found["usual_step_s"]]
    median = statistics.median(steps)
    flat = dict.fromkeys(("median", "p10", "p90", "p99", "low", "high"), median)
    return Row(
        case=measured.case,
        status="ok",
        unit=found["unit"],
        units_per_step=found["units_per_step"],
        times={"step": Summary(n=len(steps), **flat)},
        steps=tuple(len(each["step"]) for each in measured.rounds),
        images_per_s=found["units_per_step"] / median,
        memory=Memory.model_validate(found["memory"]),
        counts=Counts.model_validate(found["counts"]) if "counts" in found else None,
    )


def control_pair(control: MeasuredCase, first: MeasuredCase, seed: int = 0) -> ControlPair:
    """The A/A pair of a case that two workers measured."""
    own, other = control.samples["step"], first.samples["step"]
    ratio, low, high = paired_ratio(own, other, seed)
    own_bytes, other_bytes = (each.found["memory"]["peak_bytes"] for each in (control, first))
    return ControlPair(
        case=control.case.name,
        ratio=ratio,
        low=low,
        high=high,
        rounds=tuple(map(float, round_ratios(own, other))),
        memory_bytes=(own_bytes, other_bytes),
    )


def file_name(case: Case) -> str:
    """A case's name as part of a file's."""
    kept = [letter if letter.isalnum() or letter in "-_." else "-" for letter in case.name]
    return "-".join(filter(None, "".join(kept).split("-")))[:150]
