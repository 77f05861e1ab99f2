"""docs/results.md, from what `segkit bench quality` found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from contest_results import (
    Machine,
    Results,
    by_machine,
    contests,
    has_levers,
    joined,
    minutes_of,
    tools_of,
    whole_tools,
)
from published import PUBLISHED

from segkit.bench.quality.table import WITHOUT
from segkit.reporting.figures import DARK, LIGHT

# A training that got less of its cores than this was beside others, which its row tells.
SHARED = 0.9

FRONT = """\
# What segkit reaches on real data, beside its peers

Scores against minutes, written by `segkit bench quality` into `benchmarks/results/`, and this
page from there by `python benchmarks/write_results.py`; nothing is edited by hand. No encoder is
pretrained.

**Rules.** {rules}

**The splits** are by recording, patient or breed where the files tell; each set below says why.
Few test images mean wide intervals: where two tools are not told apart, neither is the better
one.

## At a glance

Scores after so many minutes, and under *computing* the precision in which segkit does so there:
figures of two machines are no comparison. ~ stands where a tool is not told apart from `auto`,
**bold** where it is higher; late: beyond its minutes by more than 5 %, and not compared.

{glance}
"""
LEVERS = """\
The score of `auto` less its score with one lever left out, that is with plain's choice in its
place, and the paired interval over the images. That knows nothing of seeds, which move so short a
training by 0.01 to 0.05; the average of the weights is [measured within one
training](experiments.md#the-average-of-the-weights), where no seed has a say. Empty where it was
not run, mostly since the recipe has plain's choice there."""
AGAIN = """\
## To repeat it

```
python -m pip install -r benchmarks/requirements-peers.txt
SEGKIT_TEST_DATA=DATA segkit bench quality --minutes 15 --seeds 3 --out quality
```

DATA holds the sets as folders (`segkit bench quality --dry-run` lists them). Other sets and
tools, yours among them, come by `--table FILE`, a file like
`segkit/bench/quality/sets_and_tools.yaml`; each turn is kept, so the same command goes on where
it was ended, on the same machine. Figures of the Cell Tracking Challenge's sets are shown in the
terminal and never written into results, as its conditions ask.

milesial's Pytorch-UNet is not among the tools: its GPL-3.0 code cannot be part of this
repository, and its defaults (RMSprop at 1e-5, half-size images) are for a GPU. `--table` can name
it from a checkout of your own.
"""


def page(results: Results) -> str:
    sets = {name: about for found in results.values() for name, about in found["sets"].items()}
    rules = next(iter(results.values()))["rules"]
    met = contests(results)
    lines = [FRONT.format(rules=rules, glance="\n".join(_glance(met, sets)))]
    for machine, alike in by_machine(results).items():
        lines += [*_shown(machine, joined(alike)), ""]
    tools = tools_of([whole_tools(found) for found in met.values()])
    lines += [*(f"- `{tool}`: {about}" for tool, about in tools.items()), ""]
    for name, about in sets.items():
        lines += [*_set(name, about, met), ""]
    if rest := [name for name in PUBLISHED if name not in sets]:
        lines += ["## Published figures for sets that are not run yet", ""]
        lines += [*(f"- **{name}**: {PUBLISHED[name]}" for name in rest), ""]
    if levered := [found for found in results.values() if has_levers(found)]:
        lines += ["## What each lever of the recipe brings", "", LEVERS, ""]
        for found in levered:
            lines += [*_levers(found), ""]
    lines += ["## Machines and commands", ""]
    for name, found in results.items():
        lines += [*_run(name, found), ""]
    return "\n".join(lines) + "\n" + AGAIN


def _glance(results: Results, sets: Iterable[str]) -> Iterator[str]:
    """A row for each set and time, a column for each tool."""
    tools = list(tools_of([whole_tools(found) for found in results.values()]))
    yield f"| set | minutes | computing | {' | '.join(f'`{tool}`' for tool in tools)} |"
    yield "|---" * (3 + len(tools)) + "|"
    for name in sets:
        for found in results.values():
            for minutes in minutes_of(found):
                rows = {
                    row["tool"]: row
                    for row in found["rows"]
                    if (row["set"], row["minutes"]) == (name, minutes)
                }
                cells = [_cell(rows.get(tool), found["differences"]) for tool in tools]
                if rows:
                    precision = found["machine"]["precision"]
                    yield f"| {name} | {minutes:g} | {precision} | {' | '.join(cells)} |"


def _cell(row: Mapping[str, Any] | None, differences: Sequence[Mapping[str, Any]]) -> str:
    if row is None:
        return ""
    if "score" not in row:
        return "failed"
    score = f"{row['score']:.3f}"
    if row["late"]:
        return f"{score} (late)"
    difference = _difference_to(row, differences)
    marks = {"lower": "**{}**", "not told apart": "{} ~"}
    return marks.get(difference["verdict"] if difference else "", "{}").format(score)


def _shown(machine: Machine, found: Mapping[str, Any]) -> Iterator[str]:
    dark, light = (
        f"../benchmarks/tables/{machine.picture}-{each}.png" for each in (DARK.name, LIGHT.name)
    )
    times = ", ".join(f"{each:g}" for each in minutes_of(found))
    yield (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="score over {times} minutes, a panel a set"></picture>'
    )
    yield ""
    yield f"*Score over minutes; segkit computes in {machine.precision}.*"


def _run(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    machine = found["machine"]
    versions = _versions(machine["packages"])
    if "peers" in machine:
        versions += f"; peers with {_versions(machine['peers'])}"
    yield f"### {_heading(found)}"
    yield ""
    yield (
        f"{machine['processor']}, segkit computes in {machine['precision']}, {machine['threads']} "
        f"thread{'s' * (machine['threads'] != 1)}, {machine['memory_bytes'] / 2**30:.0f} GiB; "
        f"Python {machine['python']}, {versions}; {found['date']}; `{name}`."
    )
    yield from ("", "```", found["command"], "```", "")
    jobs = machine.get("jobs", 1)
    together = f"{jobs} trainings ran at a time, each on cores of its own."
    yield together if jobs > 1 else "Trainings ran one after the other."
    if shared := [row for row in found["rows"] if _was_shared(row, machine["threads"])]:
        named = ", ".join(f"{row['set']} {row['tool']}" for row in shared)
        yield ""
        yield (
            f"Other programs used the machine during {named}: `processor s` tells how much of it "
            "they got. These rows are no verdict on the tools."
        )


def _heading(found: Mapping[str, Any]) -> str:
    times = ", ".join(f"{each:g}" for each in minutes_of(found))
    levers = "" if contests({"": found}) else ", levers"
    return f"{times} minutes on a CPU, {found['machine']['precision']}{levers}"


def _anchor(found: Mapping[str, Any]) -> str:
    """Of the heading, as GitHub makes it."""
    kept = "".join(each for each in _heading(found).lower() if each.isalnum() or each in " -")
    return f"#{kept.replace(' ', '-')}"


def _versions(packages: Mapping[str, str]) -> str:
    return ", ".join(f"{package} {each}" for package, each in packages.items())


def _was_shared(row: Mapping[str, Any], threads: int) -> bool:
    return "score" in row and row["train_processor_s"] < SHARED * row["train_s"] * threads


def _set(name: str, about: Mapping[str, Any], results: Results) -> Iterator[str]:
    yield from (f"## {name}", "")
    yield (
        f"{about['train']} images train, {about['test']} are tested, {about['classes']} classes; "
        f"score: {about['score']}. {about['split']}"
    )
    yield ""
    yield "| tool | minutes | score | 95 % | seeds | trained s | processor s | auto less it |"
    yield "|---|---|---|---|---|---|---|---|"
    for found in results.values():
        for row in whole_tools(found)["rows"]:
            if row["set"] == name:
                yield _line(row, found)
    yield from ("", f"Published: {PUBLISHED.get(name, 'nothing that could be compared is known.')}")


def _line(row: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    run = f"[{row['minutes']:g}, {found['machine']['precision']}]({_anchor(found)})"
    start = f"| {row['tool']} | {run} |"
    if "score" not in row:
        return f"{start} failed: {row['failed']} | | | | | |"
    between = "" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
    late = " (late)" if row["late"] else ""
    return (
        f"{start} **{row['score']:.3f}** | {between} | {len(row['seeds'])} | "
        f"{row['train_s']:.0f}{late} | {row['train_processor_s']:.0f} | "
        f"{_difference(row, found['differences'])} |"
    )


def _difference(row: Mapping[str, Any], differences: Sequence[Mapping[str, Any]]) -> str:
    each = _difference_to(row, differences)
    if each is None:
        return ""
    between = "" if each["low"] is None else f" ({each['low']:+.3f} to {each['high']:+.3f})"
    return f"{each['difference']:+.3f}{between}, {each['verdict']}"


def _difference_to(
    row: Mapping[str, Any], differences: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """Of auto to the tool of this row."""
    same = (row["set"], row["tool"], row["minutes"])
    found = (each for each in differences if (each["set"], each["less"], each["minutes"]) == same)
    return next(found, None)


def _levers(found: Mapping[str, Any]) -> Iterator[str]:
    """What each lever brings: the whole recipe's score less that of the recipe without it."""
    lacking = [tool for tool in found["tools"] if WITHOUT in tool]
    rows = {(row["set"], row["tool"]): row for row in found["rows"]}
    sets = list(dict.fromkeys(name for name, tool in rows if tool in lacking))
    yield f"[{_heading(found)}]({_anchor(found)}):"
    yield from ("", f"| lever | {' | '.join(sets)} |", "|---" * (len(sets) + 1) + "|")
    for tool in lacking:
        cells = [_brought(rows.get((name, tool)), found["differences"]) for name in sets]
        what = found["tools"][tool].partition(" with ")[2]
        yield f"| {tool.partition(WITHOUT)[2]} (`{what}`) | {' | '.join(cells)} |"


def _brought(row: Mapping[str, Any] | None, differences: Sequence[Mapping[str, Any]]) -> str:
    if row is None:
        return ""
    each = _difference_to(row, differences)
    if each is None:
        return "failed" if "failed" in row else ""
    between = "" if each["low"] is None else f" ({each['low']:+.3f} to {each['high']:+.3f})"
    return f"{each['difference']:+.3f}{between}"
