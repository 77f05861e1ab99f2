"""One HTML page of a benchmark: results, conditions, method, how to repeat it; self-contained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segkit.bench.display.labels import (
    FASTEST,
    baselines_line,
    limit_text,
    memory_beside_baseline,
    milliseconds,
    plain,
    shared_and_own,
    speed_beside_baseline,
)
from segkit.bench.records.record import Record
from segkit.bench.records.row import Row
from segkit.bench.records.run import Run
from segkit.reporting.pages import Figure, pages
from segkit.reporting.words import duration

MIB = 2**20
MODES = {"train": "Training", "infer": "Inference"}
CAPTIONS = {
    "speed-and-memory": "Right and low is better.",
    "score-and-speed": "Right and high is better. A short training tells apart what is very "
    "unlike; it does not rank what is close.",
    "beside-baseline": "Right is better; hollow: a tie.",
    "step-times": "Short is better. The line is the 95 % interval of the median; an arrow: it "
    "goes on. The parts add up to the median of a step: rest is what lies in no phase, and phases "
    "that come to more than the step are drawn in proportion.",
    "upsamplers": "Short is better.",
    "checkerboard": "Less is better: energy of the logits at the frequencies that upsampling puts "
    "there.",
    "roofline": "The nearer to the lines, the less is left to gain on this machine. Named are the "
    "slowest and the quickest of each kind.",
}

# What the columns of the tables mean; those whose header says it all are left out.
COLUMNS = {
    "step ms": "milliseconds of a step, the median of all; a step is one batch, in training with "
    "gradient and optimizer",
    "95 % interval": "where the median would lie in 95 of 100 repetitions like this one, by "
    "bootstrap over rounds",
    "times as fast": "speed over that of the baseline, with its 95 % interval; a tie where that "
    "holds 1 or the difference is no more than between two processes of one and the same case",
    "peak MiB": "the most memory needed, in a pass of its own, above what the idle process has "
    "(on CUDA: allocated)",
    "of its memory": "peak memory over that of the baseline",
    "multiply-adds G": "thousand millions of them in the forward pass of a batch",
    "x fastest": FASTEST,
    "score": "what a short training reached, the same for every case",
    "J per image": "energy of the device",
    "p10 ms": "a tenth of all steps was quicker; p90 and p99: nine tenths, 99 of 100",
    "of arithmetic": "share of this machine's own best arithmetic rate",
    "of bandwidth": "share of this machine's own best rate of copying, were everything fused that "
    "can be",
    "bound by": "which of the two is nearer its best",
    "error": "of the output beside the same weights in float64: norm of the difference over norm "
    "of the reference. Where it is more than is allowed, no times are shown",
}


@dataclass(frozen=True)
class Table:
    """Rows of text under headers, in two parts; the first column of each is the name."""

    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    more_header: Sequence[str]
    more_rows: Sequence[Sequence[str]]


def page(run: Run, pictures: Sequence[Figure]) -> str:
    """The whole page."""
    environment = pages("segkit.bench.pages")
    environment.globals["plain"] = plain
    environment.filters["capitalized"] = lambda text: f"{text[0].upper()}{text[1:].rstrip('.')}."
    found = tables(run)
    shown = {name for table in found for name in (*table.header, *table.more_header)}
    return environment.get_template("benchmark.html").render(
        run=run,
        pictures=pictures,
        tables=found,
        failed=[row for row in run.rows if row.status != "ok"],
        conditions=conditions(run),
        duration=duration(run.seconds),
        controls=run.aa.pairs if run.aa else (),
        band=run.aa.band if run.aa else None,
        baselines=baselines_line(run.rows),
        columns=[(name, told) for name, told in COLUMNS.items() if name in shown],
        noisy=[row for row in run.rows if row.noisy],
        quality=next((row.quality for row in run.rows if row.quality), None),
    )


def tables(run: Run) -> list[Table]:
    """What was measured, a table for each mode, the quickest first."""
    found = []
    for mode, title in MODES.items():
        rows = [row for row in run.rows if row.case.mode == mode and row.status == "ok"]
        if not rows:
            continue
        shared, own = shared_and_own([row.case for row in rows])
        rows = sorted(rows, key=lambda row: row.times["step"].median if row.times else 0.0)
        names = [own[row.case.name] + " *" * bool(row.noisy) for row in rows]
        parts = [_grid(names, [cells(row) for row in rows]) for cells in (_main, _more)]
        found.append(Table(title, shared, *parts[0], *parts[1]))
    return found


def _grid(
    names: Sequence[str], cells: Sequence[dict[str, str]]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the columns that are not empty."""
    columns = dict.fromkeys(name for each in cells for name in each)
    header = [name for name in columns if any(each.get(name) for each in cells)]
    rows = [
        [name, *(each.get(column, "") for column in header)]
        for name, each in zip(names, cells, strict=True)
    ]
    return ["", *header], rows


def _main(row: Row) -> dict[str, str]:
    step, counts = row.times.get("step"), row.counts
    return {
        f"{row.unit}s/s": _number(row.images_per_s),
        "step ms": _scaled(step, "median", 1e3),
        "95 % interval": f"{milliseconds(step.low)} to {milliseconds(step.high)}" if step else "",
        "times as fast": speed_beside_baseline(row),
        "peak MiB": _scaled(row.memory, "peak_bytes", 1 / MIB),
        "of its memory": memory_beside_baseline(row),
        "parameters M": _scaled(counts, "parameters", 1e-6),
        "multiply-adds G": _scaled(counts, "multiply_adds", 1e-9),
        "x fastest": limit_text(row),
        "score": _score(row),
        "J per image": _number(row.energy_j_per_image),
    }


def _more(row: Row) -> dict[str, str]:
    step, achieved, correct = row.times.get("step"), row.achieved, row.correctness
    cells = {
        "p10 ms": _scaled(step, "p10", 1e3),
        "p90 ms": _scaled(step, "p90", 1e3),
        "p99 ms": _scaled(step, "p99", 1e3),
        "steps": f"{step.n:,}" if step else "",
    }
    for phase in ("forward", "backward", "optimizer"):
        summary = row.times.get(phase)
        cells[f"{phase} ms"] = _scaled(summary, "median", 1e3)
    return cells | {
        "of arithmetic": _percent(achieved, "flops_share"),
        "of bandwidth": _percent(achieved, "bytes_share"),
        "bound by": (achieved.bound or "") if achieved else "",
        "first step s": _number(row.first_step_s),
        "compile s": _number(row.compile_s),
        "error": f"{correct.error:.1e}" if correct else "",
        "allowed": f"{correct.tolerance:.0e}" if correct else "",
    }


def conditions(run: Run) -> list[tuple[str, str]]:
    """The machine, its software and how it was, as pairs."""
    machine = run.environment
    pairs = [
        ("processor", f"{machine.processor}, {machine.cores} cores, {machine.threads} threads"),
        ("device", machine.device),
        ("memory", f"{machine.memory_bytes / 2**30:.1f} GiB"),
        ("system", f"{machine.system}, {machine.architecture}"),
    ]
    if machine.device_memory_bytes:
        pairs.append(("device memory", f"{machine.device_memory_bytes / 2**30:.1f} GiB"))
    if machine.driver:
        pairs.append(("driver", machine.driver))
    if machine.clock_mhz:
        pairs.append(("clock at the start", f"{machine.clock_mhz:,.0f} MHz"))
    if machine.governor:
        pairs.append(("governor", machine.governor))
    load = [each for each in (machine.load_before, machine.load_after) if each is not None]
    if load:
        pairs.append(("load", " before, ".join(f"{each:.2f}" for each in load) + " after"))
    if run.ceilings:
        pairs += _ceilings(run)
    versions = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    return [*pairs, ("python", machine.python), ("packages", versions)]


def _ceilings(run: Run) -> list[tuple[str, str]]:
    ceilings = run.ceilings
    assert ceilings is not None
    pairs = [("copy", f"{ceilings.copy_bytes / 1e9:,.1f} GB/s, read and written")]
    for name, table in (
        ("matrix product", ceilings.matmul_flops),
        ("convolution", ceilings.convolution_flops),
    ):
        rates = ", ".join(f"{rate / 1e9:,.0f} GFLOP/s in {p}" for p, rate in table.items())
        if rates:
            pairs.append((name, rates))
    return pairs


def _number(value: float | None) -> str:
    return "" if value is None else plain(value)


def _score(row: Row) -> str:
    if row.quality is None:
        return ""
    return "n/a" if row.quality.score is None else f"{row.quality.score:.3f}"


def _scaled(record: Record | None, name: str, factor: float) -> str:
    """A field in another unit; empty where the record or the field is absent."""
    value = getattr(record, name, None)
    return "" if value is None else _number(factor * value)


def _percent(record: Record | None, name: str) -> str:
    share = getattr(record, name, None)
    return "" if share is None else f"{100 * share:.0f} %"
