"""What the scripts beside `segkit bench` have found, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from segkit.bench.display.labels import plain
from segkit.bench.records.machine import Ceilings


def start_section(found: Mapping[str, Any]) -> list[str]:
    """Milliseconds from typing a command to its end."""
    under = found["conditions"]
    added = f", {under['plugins_added']} plugins added" if "plugins_added" in under else ""
    lines = _opening(under["command"])
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
    lines = _opening(found["command"])
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
    lines = _opening(found["command"])
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
            f"| {plain(1e3 * first['seconds'])} to {plain(1e3 * last['seconds'])} "
            f"| {curve['exponent']:.2f} | {curve['exponent_above']:.2f} "
            f"| {f'{memory:.2f}' if memory is not None else ''} |"
        )
    return [*lines, ""]


def agreement_section(found: Mapping[str, Any]) -> list[str]:
    """Whether the benchmark itself is to be trusted."""
    rows, agree = found["rows_compared"], found["rows_agree"]
    bands = ", ".join(f"{band - 1:.1%}" for band in found["bands"])
    return [
        *_opening(found["command"]),
        f"{found['processor']}, {found['cores']} cores. The same suite {found['runs'] - 1} times: "
        f"{agree} of {rows} rows agree with the first run's ({agree / max(rows, 1):.1%}; A/A bands "
        f"{bands}), {found['rows_failing_the_gate_unchanged']} fail `--fail-if "
        f"'{found['gate']}'`. Once with {found['slowed_cases']} cases slowed down by "
        f"{found['slowed_by'] - 1:.0%}: {found['slowed_caught']} of these fail it, and "
        f"{len(found['others_failing_the_gate'])} others.",
        "",
    ]


def _opening(command: str) -> list[str]:
    return ["```", command, "```", ""]


# By result: the page's title, and what writes it.
SCRIPTS: dict[str, tuple[str, Callable[[Mapping[str, Any]], list[str]]]] = {
    "limits.json": ("Limits: what no step can be below", limits_section),
    "scaling.json": ("Scaling: cost against pixels, batch, classes and processes", scaling_section),
    "start_up.json": ("Start: from typing a command to its end", start_section),
    "agreement.json": ("Agreement: the benchmark itself on trial", agreement_section),
}
