"""From what a worker has said to the row of its case."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from segkit.bench.controls import TwinPair
from segkit.bench.process import WorkerFailed, WorkerProcess
from segkit.bench.records import Achieved, Case, Ceilings, Counts, Memory, Row
from segkit.bench.statistics import by_phase, noise, paired_ratio, round_ratios


@dataclass
class Entrant:
    """A case with its worker, and what it has said so far."""

    case: Case
    worker: WorkerProcess
    found: dict[str, Any]
    twin: bool = False
    heat: int = 0
    rounds: list[dict[str, list[float]]] = field(default_factory=list)
    joules: list[float] = field(default_factory=list)
    lost: WorkerFailed | None = None
    files: tuple[str, ...] = ()

    def samples(self) -> dict[str, list[list[float]]]:
        """By phase, then round."""
        phases = self.rounds[0] if self.rounds else {}
        return {
            phase: [each[phase] for each in self.rounds if phase in each]
            for phase in phases
            if phase != "load"
        }


def row_of(entrant: Entrant, ceilings: Ceilings | None, seed: int = 0) -> Row:
    """What an entrant's answers amount to."""
    found, case = entrant.found, entrant.case
    if entrant.lost is not None:
        return Row(case=case, status=entrant.lost.status, reason=entrant.lost.reason)  # type: ignore[arg-type]
    samples = entrant.samples()
    times = by_phase(samples, seed)
    counts = Counts.model_validate(found["counts"]) if "counts" in found else None
    units = found["units_per_step"]
    joules = sum(entrant.joules) / len(entrant.joules) if entrant.joules else None
    row = Row(
        case=case,
        status="ok",
        unit=found["unit"],
        units_per_step=units,
        times=times,
        samples={phase: tuple(map(tuple, rounds)) for phase, rounds in samples.items()},
        images_per_s=units / times["step"].median,
        memory=Memory.model_validate(found["memory"]),
        counts=counts,
        compile_s=found["compile_s"],
        first_step_s=found["first_step_s"],
        set_up_s=found["set_up_s"],
        warm_up_steps=found["warm_up_steps"],
        noisy=noise(samples["step"], times["step"]),
        correctness=found.get("correctness"),
        energy_j_per_image=joules / units if joules is not None else None,
        clock=found["clock"],
        files=entrant.files,
        heat=entrant.heat,
    )
    return row.model_copy(update={"achieved": achieved(row, ceilings)})


def pair_of(twin: Entrant, first: Entrant, seed: int = 0) -> TwinPair:
    """The A/A pair of a case measured by two workers."""
    own, other = twin.samples()["step"], first.samples()["step"]
    ratio, low, high = paired_ratio(own, other, seed)
    own_bytes, other_bytes = (each.found["memory"]["peak_bytes"] for each in (twin, first))
    return TwinPair(
        case=twin.case.name,
        ratio=ratio,
        low=low,
        high=high,
        rounds=tuple(map(float, round_ratios(own, other))),
        memory_bytes=(own_bytes, other_bytes),
    )


def achieved(row: Row, ceilings: Ceilings | None) -> Achieved | None:
    """Rates and their shares of the ceilings; the nearer ceiling is the one that takes longer.

    No shares where the case has other threads than the ceilings were measured with.
    """
    counts, step = row.counts, row.times.get("step")
    if step is None or counts is None or (counts.flops is None and counts.fewest_bytes is None):
        return None
    if ceilings is not None and row.case.threads != ceilings.threads:
        ceilings = None
    flops = counts.flops / step.median if counts.flops else None
    moved = counts.fewest_bytes / step.median if counts.fewest_bytes else None
    most = ceilings.flops(row.case.precision) if ceilings else None
    flops_share = flops / most if flops and most else None
    bytes_share = moved / ceilings.copy_bytes if moved and ceilings else None
    bound: Literal["arithmetic", "memory"] | None = None
    if flops_share is not None and bytes_share is not None:
        bound = "arithmetic" if flops_share >= bytes_share else "memory"
    shares = [share for share in (flops_share, bytes_share) if share]
    return Achieved(
        flops_per_s=flops,
        bytes_per_s=moved,
        flops_share=flops_share,
        bytes_share=bytes_share,
        bound=bound,
        least_s=max(shares) * step.median if shares else None,
        times_limit=1 / max(shares) if shares else None,
    )


def file_name(case: Case) -> str:
    """A case's name as part of a file's."""
    kept = [letter if letter.isalnum() or letter in "-_." else "-" for letter in case.name]
    return "-".join(filter(None, "".join(kept).split("-")))[:150]
