"""`segkit bench compare`: two results, ratios with intervals, and an exit status for CI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segkit.cli.options.declaring import Command, say

if TYPE_CHECKING:
    from segkit.bench.comparison.compare import Comparison, Result

# Beyond the statuses of the errors, which end at 9 (segkit.errors).
GATE_FAILED = 10


@click.command("compare", cls=Command)
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "--fail-if",
    "gates",
    metavar="GATE",
    multiple=True,
    help="'slower>1.10' or 'memory>1.05': B over A. May be repeated.",
)
@click.option("--allow-different-hardware", is_flag=True, help="Compare all the same.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    a: Path,
    b: Path,
    gates: tuple[str, ...],
    allow_different_hardware: bool,
    as_json: bool,
) -> None:
    """Compare two results of `segkit bench`, A before and B after: results.json or its folder.

    \b
    segkit bench compare before after
    segkit bench compare main.json change.json --fail-if 'slower>1.10'

    A difference counts only where its 95 % interval leaves 1 out and it is larger than what either
    result found between two runs of one and the same case; else it is a tie, which fails no gate.
    A case that A measured and B could not fails every gate.

    Exit status: 0, 10 where a gate fails, 2 where the two cannot be compared.
    """
    from segkit.bench.comparison.compare import compare, parse_gate
    from segkit.bench.records.run import read_run

    parsed = [parse_gate(gate) for gate in gates]
    runs = read_run(a), read_run(b)
    result = compare(*runs, parsed, allow_different_hardware=allow_different_hardware)
    if as_json:
        click.echo(json.dumps(_facts(result), indent=2))
    else:
        cases = {row.case.name: row.case for run in runs for row in run.rows}
        say(_page(result, cases))
    if result.failures:
        ctx.exit(GATE_FAILED)


def _facts(result: Result) -> dict[str, Any]:
    from dataclasses import asdict

    cases = [asdict(each) | {"memory_ratio": each.memory_ratio} for each in result.comparisons]
    return {"format": "segkit-comparison/1"} | asdict(result) | {"comparisons": cases}


def _page(result: Result, cases: dict[str, Any]) -> str:
    from segkit.bench.display.labels import shared_and_own
    from segkit.reporting.tables import aligned

    shared, own = shared_and_own([cases[each.case] for each in result.comparisons])
    header = ["case", "A", "B", "B / A", "95 % interval", "verdict", "memory B / A"]
    lines = [shared, ""] * bool(shared)
    if result.comparisons:
        lines.append(aligned([_row(each, own) for each in result.comparisons], header))
    else:
        lines.append("No case was measured in either.")
    lines += ["", _summary(result)]
    lines += [f"only in A: {name}" for name in result.only_a]
    lines += [f"only in B: {name}" for name in result.only_b]
    lines += [f"changed: {what}, {one} -> {other}" for what, one, other in result.changed]
    lines += [f"FAILED: {case} {why}." for case, why in result.failures]
    return "\n".join(lines)


def _row(each: Comparison, own: dict[str, str]) -> list[object]:
    name = own[each.case] + (" *" if each.noisy else "")
    if each.ratio is None or each.low is None or each.high is None:
        return [name, "", "", "", "", each.verdict, each.reason]
    memory = f"{each.memory_ratio:.3f}" if each.memory_ratio else ""
    return [
        name,
        _milliseconds(each.seconds_a),
        _milliseconds(each.seconds_b),
        f"{each.ratio:.3f}",
        f"{each.low:.3f} to {each.high:.3f}",
        each.verdict,
        memory,
    ]


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1e3 * seconds:.4g} ms"


def _summary(result: Result) -> str:
    counts = [
        f"{result.count(verdict)} {verdict}"
        for verdict in ("faster", "slower", "tie", "lost", "gained")
        if result.count(verdict)
    ]
    parts = [", ".join(counts)] if counts else []
    if result.mean is not None:
        parts.append(f"geometric mean {result.mean:.3f}")
    parts.append(f"ties lie within {result.band:.3f} either way, by the A/A lines")
    noisy = "; * noisy" if any(each.noisy for each in result.comparisons) else ""
    return "; ".join(parts) + noisy + "."
