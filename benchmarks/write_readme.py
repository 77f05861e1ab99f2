"""Writes benchmarks/README.md from results/*.json: every table there comes from a file.

    python benchmarks/write_readme.py [--check]

--check writes nothing and ends with status 1 where the README is not what the results say.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from segkit.bench.display import controls_line
from segkit.bench.machine import Ceilings, Environment
from segkit.bench.pages.labels import (
    baselines_line,
    limit_text,
    memory_beside_baseline,
    speed_beside_baseline,
)
from segkit.bench.records import Run, read_run
from segkit.bench.row import Row

HERE = Path(__file__).parent
README = HERE / "README.md"

OPENING = """\
# Benchmarks

Every figure below was written by `segkit bench`, or by a script named with it, into
`results/*.json`, and this page from those files by `python benchmarks/write_readme.py`; neither is
edited by hand. To repeat a table, run the command above it; to compare, `segkit bench compare
benchmarks/results/NAME.json YOUR/results.json`.

| suite | what it answers |
|---|---|
{suites}

How times are taken: every case in a process of its own, all of them interleaved in rounds whose
order changes; warmed up until the rolling median stands still; random images in rotation; medians
with 95 % intervals by bootstrap over rounds. No speed is shown for an output outside the tolerance
of the same weights in float64. Memory is measured in a pass of its own. Under each table stands its
A/A line: the same case measured in two processes, as if it were two cases. Rows within that band of
one another are a tie. Where a table has a baseline, ratios to it are taken round by round, with a
95 % interval. *Times limit* is the step's time over the least it could take at this machine's own
best arithmetic and copying, everything fused that can be.

A suite is a YAML file: `about`, `needs` (what installs the peers it measures), `rounds`,
`round_seconds`, `grids`, and, in the suite or in one of its grids, the `baseline` that cases are
held against. It is written as a component of one of them
(`baseline: peers/smp_unet(encoder=resnet18, variant=default)`, `baseline: bilinear`), as a case's
full name, or as settings that differ from each case's own (`baseline: {{precision: fp32}}`). With a
component, each case is held against the one that is most like it, of the same mode, size, batch and
classes: a table of two precisions has two baselines, unless there is only one.
`segkit bench SUITE --baseline NAME` takes another one.
"""
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    text = page(results(), results_of_scripts())
    if parser.parse_args().check:
        same = README.is_file() and README.read_text(encoding="utf-8") == text
        print("README.md is up to date." if same else "README.md is not what the results say.")
        return 0 if same else 1
    README.write_text(text, encoding="utf-8")
    print(f"written to {README}")
    return 0


def results() -> list[tuple[str, Run]]:
    """The results of `segkit bench`, by file name; files of other scripts are left out."""
    return [
        (file.name, read_run(file))
        for file in sorted((HERE / "results").glob("*.json"))
        if "format" in json.loads(file.read_text(encoding="utf-8"))
    ]


def page(runs: list[tuple[str, Run]], others: Mapping[str, Any] | None = None) -> str:
    """The whole README.

    others   what the scripts beside `segkit bench` have written, by file name
    """
    parts = [OPENING.format(suites="\n".join(suite_lines()))]
    parts += [section(name, run) for name, run in runs]
    found = others or {}
    parts += ["\n".join(write(found[name])) for name, write in SCRIPTS.items() if name in found]
    return "\n".join(parts)


def results_of_scripts() -> dict[str, Any]:
    """The results of the scripts in this folder, by file name."""
    files = [HERE / "results" / name for name in SCRIPTS]
    return {f.name: json.loads(f.read_text(encoding="utf-8")) for f in files if f.is_file()}


def start_section(found: Mapping[str, Any]) -> list[str]:
    """Milliseconds from typing a command to its end."""
    under = found["conditions"]
    added = f", {under['plugins_added']} plugins added" if "plugins_added" in under else ""
    lines = _opening("Start", under["command"])
    lines += [
        f"{under['processor']}, {under['cores']} cores; Python {under['python']}; "
        f"{under['distributions_installed']} distributions{added}; median of {under['repeats']}.",
        "",
        "| command | ms | quartiles | over the bare interpreter |",
        "|---|---|---|---|",
    ]
    for name, row in found["results"].items():
        wall = row["wall"]
        low, high = wall["quartiles_ms"]
        lines.append(f"| {name} | {wall['median_ms']} | {low} to {high} | {wall['over_bare_ms']} |")
    return [*lines, ""]


def limits_section(found: Mapping[str, Any]) -> list[str]:
    """What no step can be below."""
    ceilings = found["ceilings"]
    best = Ceilings.model_validate(ceilings)
    rates = [f"{n} {(best.flops(n) or 0) / 1e9:,.0f} GFLOP/s" for n in best.convolution_flops]
    lines = _opening("Limits", found["command"])
    lines += [
        f"Arithmetic {', '.join(rates)}; copy {ceilings['copy_bytes'] / 1e9:.1f} GB/s, measured "
        f"{found['date']}. No step is quicker than `least`: in each phase all its arithmetic at "
        "the one rate or its fewest bytes at the other.",
        "",
        "| step | GFLOP | fewest MiB | arithmetic ms | traffic ms | least ms |",
        "|---|---|---|---|---|---|",
    ]
    columns = ("step", "gflop", "fewest_mib", "arithmetic_ms", "traffic_ms", "least_ms")
    lines += ["| " + " | ".join(str(row[name]) for name in columns) + " |" for row in found["rows"]]
    return [*lines, ""]


def scaling_section(found: Mapping[str, Any]) -> list[str]:
    """Exponents of cost, and what a second process brings."""
    two = found["processes"]
    lines = _opening("Scaling", found["command"])
    lines += [
        f"{found['hardware']}. The exponent of time is the slope of its logarithm: 1 is linear. "
        f"Two processes on two cores train {two['speed_up']:.2f} times as fast as one on one.",
        "",
        "| curve | from, to | ms | exponent | of the upper half | of memory |",
        "|---|---|---|---|---|---|",
    ]
    for curve in found["curves"]:
        first, last = curve["points"][0], curve["points"][-1]
        memory = curve["memory_exponent"]
        lines.append(
            f"| {curve['name']} | {first['x']:g} to {last['x']:g} "
            f"| {1e3 * first['seconds']:.3g} to {1e3 * last['seconds']:.3g} "
            f"| {curve['exponent']:.2f} | {curve['exponent_above']:.2f} "
            f"| {f'{memory:.2f}' if memory is not None else ''} |"
        )
    return [*lines, ""]


def agreement_section(found: Mapping[str, Any]) -> list[str]:
    """Whether the benchmark itself is to be trusted."""
    rows, agree = found["rows_compared"], found["rows_agree"]
    bands = ", ".join(f"{band - 1:.1%}" for band in found["bands"])
    return [
        *_opening("Agreement", found["command"]),
        f"{found['processor']}, {found['cores']} cores. The same suite {found['runs'] - 1} times: "
        f"{agree} of {rows} rows agree with the first run's ({agree / max(rows, 1):.1%}; A/A bands "
        f"{bands}), {found['rows_failing_the_gate_unchanged']} fail `--fail-if "
        f"'{found['gate']}'`. Once with {found['slowed_cases']} cases slowed down by "
        f"{found['slowed_by'] - 1:.0%}: {found['slowed_caught']} of these fail it, and "
        f"{len(found['others_failing_the_gate'])} others.",
        "",
    ]


def _opening(title: str, command: str) -> list[str]:
    return [f"## {title}", "", "```", command, "```", ""]


SCRIPTS: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "limits.json": limits_section,
    "scaling.json": scaling_section,
    "start_up.json": start_section,
    "agreement.json": agreement_section,
}


def suite_lines() -> list[str]:
    """A line for every suite: its name and its `about`."""
    lines = []
    for file in sorted((HERE / "suites").glob("*.yaml")):
        about = next(
            line.partition(":")[2].strip()
            for line in file.read_text(encoding="utf-8").splitlines()
            if line.startswith("about:")
        )
        lines.append(f"| `segkit bench {file.stem}` | {about} |")
    return lines


def section(name: str, run: Run) -> str:
    """One result: conditions, table, A/A line."""
    environment = run.environment
    packages = ", ".join(
        f"{package} {environment.packages[package]}"
        for package in ("segkit-core", "torch", "timm", "segmentation-models-pytorch", "monai")
        if package in environment.packages
    )
    lines = [
        f"## {run.suite}, {device_name(environment)}",
        "",
        f"{run.about}",
        "",
        "```",
        run.command,
        "```",
        "",
        f"{environment.hardware}; load {environment.load_before} before, {environment.load_after} "
        f"after; Python {environment.python}, {packages}; {run.started[:10]}; "
        f"{run.method.rounds} rounds; file [{name}](results/{name}).{best_rates(run.ceilings)}",
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
        "images/s": lambda row: f"{row.images_per_s:.1f}" if row.images_per_s else "",
        "times as fast": speed_beside_baseline,
        "peak MiB": lambda row: f"{row.memory.peak_bytes / 2**20:,.0f}" if row.memory else "",
        "of its memory": memory_beside_baseline,
        "parameters M": lambda row: of_counts(row, "parameters", 1e6, ".2f"),
        "G multiply-adds": lambda row: of_counts(row, "multiply_adds", 1e9, ".1f"),
        "of peak FLOP/s": lambda row: share(row, "flops_share"),
        "of copy speed": lambda row: share(row, "bytes_share"),
        "times limit": limit_text,
        "compile s": lambda row: f"{row.compile_s:.0f}" if row.compile_s is not None else "",
        "J an image": lambda row: (
            f"{row.energy_j_per_image:.3g}" if row.energy_j_per_image is not None else ""
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
    return f"{summary.median * 1e3:.4g}" if summary else ""


def interval(row: Row) -> str:
    step = row.times.get("step")
    return f"{step.low * 1e3:.4g} to {step.high * 1e3:.4g}" if step else ""


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


if __name__ == "__main__":
    sys.exit(main())
