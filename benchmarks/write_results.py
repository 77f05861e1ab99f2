"""Writes docs/results.md and its picture from results/quality-*.json.

    python benchmarks/write_results.py [--check]

--check writes nothing and ends with status 1 where the page is not what the results say.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from published import PUBLISHED

from segkit.bench.quality.picture import draw
from segkit.bench.quality.table import WITHOUT
from segkit.reporting.figures import DARK, LIGHT

HERE = Path(__file__).parent
PAGE, TABLES = HERE.parent / "docs" / "results.md", HERE / "tables"
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
"""
AGAIN = """\
## To repeat it

```
python -m pip install -r benchmarks/requirements-peers.txt
SEGKIT_TEST_DATA=DATA segkit bench quality --minutes 15 --seeds 3 --out quality
```

DATA holds the sets as folders (`segkit bench quality --dry-run` lists them). Other sets and
tools, yours among them, come by `--table FILE`, a file like
`segkit/bench/quality/sets_and_tools.yaml`; each turn is kept, so the same command goes on where
it was ended. Figures of the Cell Tracking Challenge's sets are shown in the terminal and never
written into results, as its conditions ask.

milesial's Pytorch-UNet is not among the tools: its GPL-3.0 code cannot be part of this
repository, and its defaults (RMSprop at 1e-5, half-size images) are for a GPU. `--table` can name
it from a checkout of your own.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    results = all_results()
    text = page(results)
    if parser.parse_args().check:
        holds = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        print("all is up to date." if holds else f"not what the results say: {PAGE}")
        return 0 if holds else 1
    PAGE.write_text(text, encoding="utf-8")
    for name, drawn in pictures(results).items():
        (TABLES / name).write_bytes(drawn)
    print(f"written: {PAGE}")
    return 0


def all_results() -> dict[str, dict[str, Any]]:
    """What `segkit bench quality` wrote, by file name."""
    files = sorted((HERE / "results").glob("quality-*.json"))
    return {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


def pictures(results: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """By file name: of each result, for light pages and for dark ones."""
    return {
        f"{Path(name).stem}-{theme.name}.png": draw(whole_tools(found), theme)
        for name, found in results.items()
        for theme in (LIGHT, DARK)
    }


def whole_tools(found: Mapping[str, Any]) -> dict[str, Any]:
    """The result without the tools that lack a lever."""
    return {
        **found,
        "tools": {name: about for name, about in found["tools"].items() if WITHOUT not in name},
        "rows": [row for row in found["rows"] if WITHOUT not in row["tool"]],
    }


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [FRONT.format(rules=next(iter(results.values()))["rules"])]
    for name, found in results.items():
        lines += [*_run(name, found), ""]
    run = {name for found in results.values() for name in found["sets"]}
    if rest := [name for name in PUBLISHED if name not in run]:
        lines += ["## Published figures for sets that are not run yet", ""]
        lines += [*(f"- **{name}**: {PUBLISHED[name]}" for name in rest), ""]
    return "\n".join(lines) + "\n" + AGAIN


def _run(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    stem, machine = Path(name).stem, found["machine"]
    versions = ", ".join(f"{package} {each}" for package, each in machine["packages"].items())
    yield f"## {', '.join(f'{each:g}' for each in _minutes(found))} minutes on a CPU"
    yield ""
    precision = f"segkit computes in {machine['precision']}, " if "precision" in machine else ""
    yield (
        f"{machine['processor']}, {precision}{machine['threads']} "
        f"thread{'s' * (machine['threads'] != 1)}, {machine['memory_bytes'] / 2**30:.0f} GiB; "
        f"Python {machine['python']}, {versions}; {found['date']}; `{name}`."
    )
    yield from ("", "```", found["command"], "```", "")
    jobs = machine.get("jobs", 1)
    together = f"{jobs} trainings ran at a time, each on cores of its own."
    yield from (together if jobs > 1 else "Trainings ran one after the other.", "")
    if any(_was_shared(row, machine["threads"]) for row in found["rows"]):
        yield (
            "Other programs used the machine at the same time: `processor s` tells how much of it "
            "each training got. These rows show that the comparison works; they are no verdict on "
            "the tools, which a machine with nothing else to do has to give."
        )
        yield ""
    yield from (f"- `{tool}`: {about}" for tool, about in whole_tools(found)["tools"].items())
    dark, light = (f"../benchmarks/tables/{stem}-{theme}.png" for theme in ("dark", "light"))
    yield ""
    yield (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="score over minutes, a panel a set"></picture>'
    )
    for one in found["sets"]:
        yield from _set(one, found)
    yield from _levers(found)


def _minutes(found: Mapping[str, Any]) -> list[float]:
    return sorted({row["minutes"] for row in found["rows"]})


def _was_shared(row: Mapping[str, Any], threads: int) -> bool:
    return "score" in row and row["train_processor_s"] < SHARED * row["train_s"] * threads


def _set(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    about = found["sets"][name]
    yield from ("", f"### {name}", "")
    yield (
        f"{about['train']} images train, {about['test']} are tested, {about['classes']} classes; "
        f"score: {about['score']}. {about['split']}"
    )
    yield ""
    yield "| tool | minutes | score | 95 % | seeds | trained s | processor s | auto less it |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in whole_tools(found)["rows"]:
        if row["set"] == name:
            yield _line(row, found["differences"])
    yield from ("", f"Published: {PUBLISHED.get(name, 'nothing that could be compared is known.')}")


def _line(row: Mapping[str, Any], differences: Sequence[Mapping[str, Any]]) -> str:
    start = f"| {row['tool']} | {row['minutes']:g} |"
    if "score" not in row:
        return f"{start} failed: {row['failed']} | | | | | |"
    between = "" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
    late = " (late)" if row["late"] else ""
    return (
        f"{start} **{row['score']:.3f}** | {between} | {len(row['seeds'])} | "
        f"{row['train_s']:.0f}{late} | {row['train_processor_s']:.0f} | "
        f"{_difference(row, differences)} |"
    )


def _difference(row: Mapping[str, Any], differences: Sequence[Mapping[str, Any]]) -> str:
    for each in differences:
        same = (each["set"], each["less"], each["minutes"])
        if same == (row["set"], row["tool"], row["minutes"]):
            between = "" if each["low"] is None else f" ({each['low']:+.3f} to {each['high']:+.3f})"
            return f"{each['difference']:+.3f}{between}, {each['verdict']}"
    return ""


def _levers(found: Mapping[str, Any]) -> Iterator[str]:
    """What each lever brings: the whole recipe's score less that of the recipe without it."""
    rows = [each for each in found["differences"] if WITHOUT in each["less"]]
    if not rows:
        return
    levers = dict.fromkeys(each["less"].partition(WITHOUT)[2] for each in rows)
    sets = list(dict.fromkeys(each["set"] for each in rows))
    yield from ("", "### What each lever brings", "")
    yield "The score of `auto` less its score with one lever left out, with the paired interval."
    yield from ("", f"| lever | {' | '.join(sets)} |", "|---" * (len(sets) + 1) + "|")
    for lever in levers:
        cells = [
            next(
                (
                    f"{each['difference']:+.3f} ({each['low']:+.3f} to {each['high']:+.3f})"
                    for each in rows
                    if each["set"] == name and each["less"].endswith(WITHOUT + lever)
                ),
                "",
            )
            for name in sets
        ]
        what = found["tools"][next(r["less"] for r in rows if r["less"].endswith(WITHOUT + lever))]
        yield f"| {lever} (`{what.partition(' with ')[2]}`) | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
