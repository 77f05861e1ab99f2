"""The least time of a step of any combination on this machine, from counts and ceilings.

    python benchmarks/limits.py --encoder densenet121,unet --size 512 --batch 2
    python benchmarks/limits.py --results benchmarks/results/quick.json

Measures what this machine does at its best (convolution, matrix product, copy, in each precision),
counts each combination's arithmetic and fewest bytes without running it (bench/limits/counting.py),
and prints the time that no step can be below: by phase, its arithmetic at the one rate or its bytes
at the other, whichever takes longer. With --results, prints how far each measured row is from that
limit, by the ceilings measured with it. Writes results/limits.json, unless --results is given.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from segkit.bench.instruments.conditions import conditions
from segkit.bench.limits.counting import Step, count_step
from segkit.bench.limits.devices import Device
from segkit.bench.limits.planner import time_bounds
from segkit.bench.limits.roofline import achieved
from segkit.bench.records.machine import Ceilings
from segkit.bench.records.run import Run, read_run
from segkit.bench.suites.grid import split_list
from segkit.bench.worker.ceilings import measure_ceilings
from segkit.reporting.tables import aligned

RESULT = Path(__file__).parent / "results" / "limits.json"
PRECISIONS = ("fp32", "bf16")
HEADER = ["step", "GFLOP", "fewest MiB", "arithmetic ms", "traffic ms", "least ms", "eager ms"]


def main() -> int:
    given = arguments()
    if given.results:
        for file in given.results:
            print(distances(read_run(file)))
        return 0
    device = str(given.device)
    precisions = split_list(given.precision)
    ceilings = measure_ceilings(device, precisions)
    machine = conditions(device)
    print(f"{machine.hardware}, load {machine.load_before}")
    print(in_words(ceilings))
    steps = combinations(given, precisions)
    rows = [limits(step, ceilings) for step in steps]
    print(aligned([list(row.values()) for row in rows], HEADER))
    content = {
        "command": " ".join(["python", "benchmarks/limits.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
        "environment": machine.model_dump(),
        "ceilings": ceilings.model_dump(),
        "rows": rows,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(content, indent=1) + "\n")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="densenet121,unet,timm/resnet18")
    parser.add_argument("--decoder", default="unet")
    parser.add_argument("--upsampler", default="bilinear")
    parser.add_argument("--loss", default="dice+ce")
    parser.add_argument("--mode", default="train,infer")
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--precision", default=",".join(PRECISIONS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, nargs="*", help="of `segkit bench`")
    return parser.parse_args()


def combinations(given: argparse.Namespace, precisions: Sequence[str]) -> list[Step]:
    """A step for every combination of what was named with commas."""
    axes = [split_list(each) for each in (given.encoder, given.decoder, given.upsampler)]
    return [
        Step(
            encoder=encoder,
            decoder=decoder,
            upsampler=upsampler,
            loss=given.loss if mode == "train" else None,
            mode=mode,
            classes=given.classes,
            height=given.size,
            width=given.size,
            batch=given.batch,
            precision=precision,
            average=mode == "train",
            device=given.device.partition(":")[0],
        )
        for encoder, decoder, upsampler, mode, precision in product(
            *axes, split_list(given.mode), precisions
        )
    ]


def limits(step: Step, ceilings: Ceilings) -> dict[str, Any]:
    """Counts and least times of one step, as a row; times in milliseconds."""
    count = count_step(step)
    flops = {name: ceilings.flops(name) or 0.0 for name in ceilings.matmul_flops}
    device = Device("this machine", 0, flops, ceilings.copy_bytes, "measured", step.device)
    bounds = time_bounds(count, step.precision, device)
    parts = [step.encoder, step.decoder, step.upsampler, *([step.loss] if step.loss else [])]
    shape = f"{step.batch} x {step.height} x {step.width}"
    return {
        "step": f"{' + '.join(parts)}, {step.mode}, {shape}, {step.precision}",
        "gflop": round(count.flops() / 1e9, 2),
        "fewest_mib": round(sum(count.fewest_bytes.values()) / 2**20, 1),
        "arithmetic_ms": round(1e3 * bounds.arithmetic, 3),
        "traffic_ms": round(1e3 * bounds.memory, 3),
        "least_ms": round(1e3 * bounds.fused, 3),
        "eager_ms": round(1e3 * bounds.eager, 3),
    }


def distances(run: Run) -> str:
    """Every row of a result beside its limit, the nearest first."""
    found = []
    for row in run.rows:
        reached = achieved(row, run.ceilings)
        if reached is None or reached.least_s is None or reached.times_limit is None:
            continue
        times = (1e3 * row.times["step"].median, 1e3 * reached.least_s, reached.times_limit)
        found.append([row.case.name, *(f"{each:.3g}" for each in times), reached.bound or ""])
    header = ["case", "ms a step", "least ms", "times limit", "bound by"]
    ordered = sorted(found, key=lambda each: float(each[3]))
    title = f"{run.suite}, {run.environment.hardware}"
    return f"{title}\n{aligned(ordered, header)}" if found else f"{title}: no row has a limit."


def in_words(ceilings: Ceilings) -> str:
    """The ceilings in a line."""
    rates = [
        f"{name} {kind} {table[name] / 1e9:,.0f} GFLOP/s"
        for kind, table in (
            ("convolution", ceilings.convolution_flops),
            ("matrix product", ceilings.matmul_flops),
        )
        for name in table
    ]
    return ", ".join([*rates, f"copy {ceilings.copy_bytes / 1e9:.1f} GB/s"])


if __name__ == "__main__":
    sys.exit(main())
