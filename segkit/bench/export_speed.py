"""How much sooner an exported file answers than another: both in the same rounds, and one twice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from segkit.bench.benchmark import run_benchmark
from segkit.bench.display.watching import Quiet
from segkit.bench.order import Order
from segkit.bench.runner.settings import Settings
from segkit.bench.suites.suite import EXPORTED, ROUND_SECONDS, ROUNDS, suite_of_files


@dataclass(frozen=True)
class Speed:
    """One file's time beside another's.

    times_as_fast   above 1: sooner than the other; low, high: its 95 % interval, paired by rounds
    tie             the interval holds 1, or identical processes differ as much
    band            ratios from 1 / band to band are ties, by a case that was measured twice (A/A)
    seconds, other_seconds   median of an image
    """

    times_as_fast: float
    low: float
    high: float
    tie: bool
    band: float
    seconds: float
    other_seconds: float
    size: int
    threads: int | None
    hardware: str


def speed_beside(file: Path, other: Path, settings: Settings | None = None) -> Speed | None:
    """Measures `file` beside `other` on images of 512 x 512; None where one could not be run.

    Raises what `run_benchmark` raises.
    """
    suite = suite_of_files([str(other), str(file)])
    order = Order(suite, settings=settings or Settings(ROUNDS, ROUND_SECONDS), ceilings=False)
    with TemporaryDirectory() as folder:
        run = run_benchmark(order, Quiet(), Path(folder))
    rows = {row.case.onnx: row for row in run.rows}
    own, theirs = rows[str(file)], rows[str(other)]
    if own.relative is None:
        return None
    return Speed(
        times_as_fast=own.relative.speed,
        low=own.relative.low,
        high=own.relative.high,
        tie=own.relative.tie,
        band=run.aa.band if run.aa else 1.0,
        seconds=own.times["step"].median,
        other_seconds=theirs.times["step"].median,
        size=EXPORTED,
        threads=run.environment.threads,
        hardware=run.environment.hardware,
    )
