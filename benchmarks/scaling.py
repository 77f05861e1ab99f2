"""Cost against pixels, batch, classes and images, as curves; and two processes beside one.

    python benchmarks/scaling.py [--results FOLDER] [--out FOLDER]

Runs the suite `scaling`, or reads its results from a folder, and fits to each curve the exponent of
time and memory: 1 is linear. At the upper end of no curve should it be above 1. Then it times
opening and reading data sets of growing size, and `segkit train` in two processes on two cores
beside one process on one core. Writes results/scaling.json. Not for Windows.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segkit.bench.records.case import Case
from segkit.bench.records.row import Row
from segkit.bench.records.run import Run, read_run
from segkit.reporting.tables import aligned

RESULT = Path(__file__).parent / "results" / "scaling.json"
# Linear, and what noise adds to the slope between two points a factor of two apart.
MOST_EXPONENT = 1.1
WANTED_SPEED_UP = 1.6
IMAGES = (200, 400, 800, 1600)
REPEATS = 3
SIDE = 96
TRAINING = [
    *("train", "--encoder", "timm/resnet18", "--weights", "none", "--epochs", "3", "--batch", "16"),
    *("--size", "128", "--workers", "0", "--precision", "fp32", "--set", "evaluate_every=3"),
]


class Point(NamedTuple):
    """At x: seconds, and bytes of peak memory where known."""

    x: float
    seconds: float
    peak_bytes: int | None = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, help="of `segkit bench scaling`")
    parser.add_argument("--out", type=Path, default=Path("scaling"))
    given = parser.parse_args()
    if given.results is None:
        words = [sys.executable, "-m", "segkit", "bench", "scaling", "--out", str(given.out)]
        subprocess.run(words, check=True)
    run = read_run(given.results or given.out)
    curves = [fitted(name, points) for name, points in curves_of(run.rows).items()]
    with tempfile.TemporaryDirectory(prefix="segkit-scaling-") as folder:
        curves += [fitted(name, points) for name, points in over_images(Path(folder)).items()]
        processes = two_processes(Path(folder))
    found = verdict(run, curves, processes)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(shown(found))
    return 0 if found["passed"] else 1


def curves_of(rows: Iterable[Row]) -> dict[str, list[Point]]:
    """Points of every curve: cases that differ in nothing but size, or batch, or classes."""
    measured = [row for row in rows if row.status == "ok" and "step" in row.times]
    values: dict[str, Callable[[Case], float]] = {
        "pixels": lambda case: case.size**2,
        "batch": lambda case: case.batch,
        "classes": lambda case: case.classes,
    }
    curves: dict[str, list[Point]] = {}
    for axis, value in values.items():
        field = "size" if axis == "pixels" else axis
        for row in measured:
            rest = row.case.model_copy(update={field: 1})
            memory = row.memory.peak_bytes if row.memory else None
            point = Point(value(row.case), row.times["step"].median, memory)
            curves.setdefault(f"{axis}: {_without(rest, field)}", []).append(point)
    return {name: sorted(points) for name, points in curves.items() if len(points) > 2}


def _without(case: Case, field: str) -> str:
    """What of a case stays the same along a curve."""
    words = {"size": "1px", "batch": "batch 1", "classes": "K=1"}
    return ", ".join(word for word in case.name.split(", ") if word != words[field])


def fitted(name: str, points: Sequence[Point]) -> dict[str, Any]:
    """A curve with its exponents: over all points, and over the upper half of them."""
    upper = points[len(points) // 2 - (len(points) < 4) :]
    memory = [Point(p.x, p.peak_bytes) for p in points if p.peak_bytes]
    return {
        "name": name,
        "points": [point._asdict() for point in points],
        "exponent": exponent(points),
        "exponent_above": exponent(upper),
        "memory_exponent": exponent(memory) if len(memory) == len(points) else None,
    }


def exponent(points: Sequence[Point]) -> float:
    """The slope of log time over log x, by least squares."""
    logs = np.log([(point.x, point.seconds) for point in points])
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def over_images(folder: Path) -> dict[str, list[Point]]:
    """Opening a folder of images with its checks, and an epoch of reading it, by its size."""
    from segkit.data.loader import TrainingLoader
    from segkit.data.opening.open import open_data

    def opened_and_read(images: Path) -> tuple[float, float]:
        start = time.perf_counter()
        data = open_data(images)
        opened = time.perf_counter()
        loader = TrainingLoader(
            data.split("train"),
            size=SIDE,
            batch=10,
            seed=0,
            ignore_index=data.ignore_index,
            workers=0,
        )
        for _ in loader.epoch(1):
            pass
        return opened - start, time.perf_counter() - opened

    draw(folder / "first", 20)
    opened_and_read(folder / "first")  # it imports what it needs
    curves: dict[str, list[Point]] = {"images: open and check": [], "images: read an epoch": []}
    for count in IMAGES:
        images = folder / f"images-{count}"
        draw(images, count)
        taken = [opened_and_read(images) for _ in range(REPEATS)]
        best = [min(each) for each in zip(*taken, strict=True)]
        for points, seconds in zip(curves.values(), best, strict=True):
            points.append(Point(count, seconds))
    return curves


def draw(folder: Path, count: int) -> None:
    """So many pairs of a picture of noise and a mask of two classes."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(count):
        pixels = rng.integers(256, size=(SIDE, SIDE, 3), dtype=np.uint8)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        top, left = rng.integers(SIDE // 2, size=2)
        mask[top : top + SIDE // 2, left : left + SIDE // 2] = 1
        Image.fromarray(pixels).save(folder / "images" / f"{number:04}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:04}.png")


def two_processes(folder: Path) -> dict[str, float]:
    """Images a second of one process on one core, and of two on two, in turn; the best of each."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    one = [sys.executable, "-m", "segkit", *TRAINING]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    two = [*torchrun, "-m", "segkit", *TRAINING]
    found: dict[str, list[float]] = {"one": [], "two": []}
    for turn in range(2):
        found["one"].append(trained(one, folder / f"one-{turn}", cores[:1]))
        found["two"].append(trained(two, folder / f"two-{turn}", cores))
    best = {name: max(rates) for name, rates in found.items()}
    return {
        "cores": len(cores),
        "one_process_images_per_s": best["one"],
        "two_processes_images_per_s": best["two"],
        "speed_up": best["two"] / best["one"],
    }


def trained(command: Sequence[str], out: Path, cores: Sequence[int]) -> float:
    """Trains on the given cores, a thread a process; images a second of the best later epoch."""
    subprocess.run(
        [*command, "--out", str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return max(float(json.loads(line)["images_per_second"]) for line in lines[1:])


def verdict(run: Run, curves: Sequence[dict[str, Any]], processes: dict[str, float]) -> Any:
    """All of it, and whether nothing is worse than linear and two processes pay."""
    steepest = max(curve["exponent_above"] for curve in curves)
    return {
        "command": "python benchmarks/scaling.py",
        "started": run.started,
        "hardware": run.environment.hardware,
        "packages": dict(run.environment.packages),
        "curves": list(curves),
        "steepest": steepest,
        "processes": processes,
        "passed": steepest <= MOST_EXPONENT and processes["speed_up"] >= WANTED_SPEED_UP,
    }


def shown(found: dict[str, Any]) -> str:
    """The curves as a table, and the processes in a line."""
    rows = []
    for curve in found["curves"]:
        first, last = curve["points"][0], curve["points"][-1]
        memory = curve["memory_exponent"]
        rows.append(
            [
                curve["name"],
                f"{first['x']:g} to {last['x']:g}",
                f"{1e3 * first['seconds']:.3g} to {1e3 * last['seconds']:.3g}",
                f"{curve['exponent']:.2f}",
                f"{curve['exponent_above']:.2f}",
                f"{memory:.2f}" if memory is not None and not math.isnan(memory) else "",
            ]
        )
    header = ["curve", "from to", "ms", "exponent", "upper half", "memory"]
    two = found["processes"]
    return "\n".join(
        [
            aligned(rows, header),
            f"two processes on {two['cores']} cores: {two['speed_up']:.2f} times one on one.",
            "Passed." if found["passed"] else "NOT passed.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
