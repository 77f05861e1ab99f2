"""Results of `segkit bench` as Markdown: conditions, the wide table, what is noise."""

from __future__ import annotations

from segkit.bench.display.labels import (
    baselines_line,
    limit_text,
    memory_beside_baseline,
    plain,
    speed_beside_baseline,
)
from segkit.bench.display.terminal import controls_line
from segkit.bench.records.machine import Ceilings, Environment
from segkit.bench.records.row import Row
from segkit.bench.records.run import Run

# keras.io/api/applications: size MB, million parameters, depth, milliseconds per inference step on
# CPU (AMD EPYC, 92 cores) and GPU (A100), batch 32, whole classifier.
KERAS = {
    "densenet121": (33, 8.1, 242, 77.1, 5.4),
    "densenet169": (57, 14.3, 338, 96.4, 6.3),
    "densenet201": (80, 20.2, 402, 127.2, 6.7),
}
# What it counts as parameters beside an encoder's own: a linear layer of 1,000 classes (Huang et
# al. 2017, table 1, has the channels) and the norms' running means and variances.
BESIDE_ENCODER = {
    "densenet121": 1_000 * 1_024 + 1_000 + 83_648,
    "densenet169": 1_000 * 1_664 + 1_000 + 158_400,
    "densenet201": 1_000 * 1_920 + 1_000 + 229_056,
}
KERAS_NOTE = """\
Beside them, as published at keras.io/api/applications: batch 32, on an AMD EPYC of 92 cores and on
an A100; the page does not say whether a step is a batch or an image. It counts the classifier and
the norms' running statistics as parameters; so counted, ours are in the second column. Its depth
counts every layer, norms and activations too.

| network | so counted M | Keras: parameters M | size MB | depth | CPU ms | GPU ms |
|---|---|---|---|---|---|---|
"""


def section(name: str, run: Run) -> str:
    """One result: conditions, table, A/A line."""
    environment = run.environment
    packages = ", ".join(
        f"{package} {environment.packages[package]}"
        for package in ("segkit-core", "torch", "timm", "segmentation-models-pytorch", "monai")
        if package in environment.packages
    )
    lines = [
        f"## {device_name(environment)}",
        "",
        "```",
        run.command,
        "```",
        "",
        f"{environment.hardware}; load {environment.load_before} before, {environment.load_after} "
        f"after; Python {environment.python}, {packages}; {run.started[:10]}; "
        f"{run.method.rounds} rounds; file [{name}](../results/{name}).{best_rates(run.ceilings)}",
        "",
        *table(run),
        "",
        " ".join(filter(None, [controls_line(run.aa), baselines_line(run.rows)])),
        "",
    ]
    if run.suite == "densenets":
        lines += [KERAS_NOTE + "\n".join(keras_lines(run.rows)), ""]
    return "\n".join(lines)


def device_name(environment: Environment) -> str:
    """The GPU, or the processor without marks."""
    if environment.device != "cpu":
        return environment.device
    words = environment.processor.replace("(R)", "").replace("(TM)", "").split()
    return " ".join(word for word in words if word not in ("CPU", "Processor"))


def best_rates(ceilings: Ceilings | None) -> str:
    """What the machine can do at its best: it tells processors of one name apart."""
    if ceilings is None:
        return ""
    rates = [f"{n} {(ceilings.flops(n) or 0) / 1e9:,.0f}" for n in ceilings.convolution_flops]
    copies = f"copy {ceilings.copy_bytes / 1e9:.1f} GB/s"
    return f" Ceilings: {', '.join(rates)} GFLOP/s, {copies}." if rates else ""


def table(run: Run) -> list[str]:
    """The rows in Markdown; columns that no row fills are left out."""
    columns = {
        "case": lambda row: row.case.name,
        "ms a step": lambda row: milliseconds(row, "step"),
        "95 %": interval,
        "forward": lambda row: milliseconds(row, "forward"),
        "backward": lambda row: milliseconds(row, "backward"),
        "optimizer": lambda row: milliseconds(row, "optimizer"),
        "images/s": lambda row: plain(row.images_per_s) if row.images_per_s else "",
        "times as fast": speed_beside_baseline,
        "peak MiB": lambda row: f"{row.memory.peak_bytes / 2**20:,.0f}" if row.memory else "",
        "of its memory": memory_beside_baseline,
        "parameters M": lambda row: of_counts(row, "parameters", 1e6, ".2f"),
        "G multiply-adds": lambda row: of_counts(row, "multiply_adds", 1e9, ".1f"),
        "of peak FLOP/s": lambda row: share(row, "flops_share"),
        "of copy speed": lambda row: share(row, "bytes_share"),
        "x fastest": limit_text,
        "compile s": lambda row: f"{row.compile_s:.0f}" if row.compile_s is not None else "",
        "J an image": lambda row: (
            plain(row.energy_j_per_image) if row.energy_j_per_image is not None else ""
        ),
        "score": lambda row: (
            f"{row.quality.score:.3f}" if row.quality and row.quality.score is not None else ""
        ),
        "checkerboard": checkerboard,
        "notes": notes,
    }
    filled = {name: [cell(row) for row in run.rows] for name, cell in columns.items()}
    kept = {name: cells for name, cells in filled.items() if any(cells)}
    lines = ["| " + " | ".join(kept) + " |", "|" + "---|" * len(kept)]
    lines += [
        "| " + " | ".join(cells[at].replace("|", "\\|") for cells in kept.values()) + " |"
        for at in range(len(run.rows))
    ]
    return lines


def milliseconds(row: Row, phase: str) -> str:
    summary = row.times.get(phase)
    return plain(1e3 * summary.median, 4) if summary else ""


def interval(row: Row) -> str:
    step = row.times.get("step")
    return f"{plain(1e3 * step.low, 4)} to {plain(1e3 * step.high, 4)}" if step else ""


def of_counts(row: Row, name: str, unit: float, form: str) -> str:
    value = getattr(row.counts, name) if row.counts else None
    return format(value / unit, form) if value else ""


def share(row: Row, name: str) -> str:
    value = getattr(row.achieved, name) if row.achieved else None
    return f"{value:.0%}" if value is not None else ""


def checkerboard(row: Row) -> str:
    found = row.checkerboard
    if found is None:
        return ""
    after = f", trained {found.after_training:.2%}" if found.after_training is not None else ""
    return f"{found.at_start:.2%}{after}"


def notes(row: Row) -> str:
    if row.status != "ok":
        return f"{row.status}: {row.reason}"
    return f"noisy: {row.noisy}" if row.noisy else ""


def keras_lines(rows: tuple[Row, ...]) -> list[str]:
    """A line for every DenseNet among the rows."""
    lines = []
    for row in rows:
        name, own = str(row.case.encoder), row.counts.parameters if row.counts else None
        if name not in KERAS:
            continue
        size, parameters, depth, *times = KERAS[name]
        counted = f"{(own + BESIDE_ENCODER[name]) / 1e6:.2f}" if own else ""
        cells = [name, counted, parameters, size, depth, *times]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines
