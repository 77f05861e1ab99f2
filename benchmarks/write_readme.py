"""Writes benchmarks/README.md and the pages in tables/ from results/*.json, with their picture.

    python benchmarks/write_readme.py [--check]

--check writes nothing and ends with status 1 where a page is not what the results say.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headlines import PICTURE, headline_table, pictures, standings
from result_tables import section
from script_tables import SCRIPTS

from segkit.bench.display.labels import FASTEST
from segkit.bench.records.run import Run, read_run

HERE = Path(__file__).parent
TIMES = "segkit-bench/"
README, TABLES, RESULTS = HERE / "README.md", HERE / "tables", HERE / "results"

FRONT = """\
# Benchmarks

segkit beside the best of its peers: the library's own way, or its best setting, whichever is
quicker. Times of a step, medians; ratios round by round with a 95 % interval; a tie is what two
processes of one and the same case may differ by. Each row links to its table, with conditions.

{rows}

\\* noisy: the table says why. Every figure was written by `segkit bench` into `results/`, and this
page from there by `python benchmarks/write_readme.py`; nothing is edited by hand.

**Older than the code.** These runs precede what CHANGELOG.md lists under Removed, and were not
repeated since: counting a confusion matrix takes about three times as long now (1.5 ms an image of
512 x 512 where it took 0.5), a DenseNet-121 U-Net with `bilinear` predicts some 7 % slower in
float32, and the losses were rewritten. Measure on your own machine before you rely on a row.

## Tables

| table | what it answers |
|---|---|
{pages}

To repeat one: the command stands above it. To compare: `segkit bench compare
benchmarks/results/NAME.json YOUR/results.json`.
"""
METHOD = f"""\
## How times are taken

Every case runs in a process of its own, all of them interleaved in rounds whose order changes;
warmed up until the rolling median stands still; random images in rotation; medians with 95 %
intervals by bootstrap over rounds. No speed is shown for an output outside the tolerance of the
same weights in float64. Memory is measured in a pass of its own.

- **Same case twice (A/A)**: under each table, what two processes of one and the same case differed
  by, measured as if they were two cases. Rows within that band of one another are a tie.
- **times as fast**: where a table has a baseline, ratios to it are taken round by round.
- **x fastest**: {FASTEST}

## Suites

A suite is a YAML file: `about`, `needs` (what installs the peers it measures), `rounds`,
`round_seconds`, `minutes` (that all of it may take), `grids`, and, in the suite or in one of its
grids, the `baseline` that cases are held against. It is written as a component of one of them
(`baseline: peers/smp_unet(encoder=resnet18, variant=default)`, `baseline: bilinear`), as a case's
full name, or as settings that differ from each case's own (`baseline: {{precision: fp32}}`). With a
component, each case is held against the one that is most like it, of the same mode, size, batch and
classes: a table of two precisions has two baselines, unless there is only one.
`segkit bench SUITE --baseline NAME` takes another one.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    runs = results()
    pages = all_pages(runs, results_of_scripts())
    if parser.parse_args().check:
        wrong = [name for name, text in pages.items() if not _holds(HERE / name, text)]
        print(f"not what the results say: {', '.join(wrong)}" if wrong else "all is up to date.")
        return 1 if wrong else 0
    TABLES.mkdir(exist_ok=True)
    for name, text in pages.items():
        (HERE / name).write_text(text, encoding="utf-8")
    for name, drawn in all_pictures(runs).items():
        (TABLES / name).write_bytes(drawn)
    print(f"written: {README} and {len(pages) - 1} pages in {TABLES}")
    return 0


def _holds(file: Path, text: str) -> bool:
    return file.is_file() and file.read_text(encoding="utf-8") == text


def results() -> dict[str, Run]:
    """What `segkit bench` timed, by file name without its ending; scores and scripts left out."""
    return {
        file.stem: read_run(file)
        for file in sorted(RESULTS.glob("*.json"))
        if str(json.loads(file.read_text(encoding="utf-8")).get("format")).startswith(TIMES)
    }


def results_of_scripts() -> dict[str, Any]:
    """The results of the scripts in this folder, by file name."""
    files = [RESULTS / name for name in SCRIPTS]
    return {f.name: json.loads(f.read_text(encoding="utf-8")) for f in files if f.is_file()}


def all_pages(runs: Mapping[str, Run], others: Mapping[str, Any]) -> dict[str, str]:
    """Every page's text, by its place in this folder.

    others   what the scripts have written, by file name
    """
    pages, listed = {}, []
    for suite in dict.fromkeys(run.suite for run in runs.values()):
        own = {name: run for name, run in runs.items() if run.suite == suite}
        # Those of a GPU first.
        ordered = sorted(own.items(), key=lambda each: each[1].environment.device == "cpu")
        about = ordered[0][1].about
        parts = [f"# {suite}", "", about, "", *(section(f"{n}.json", run) for n, run in ordered)]
        pages[f"tables/{suite}.md"] = "\n".join(parts)
        listed.append(f"| [{suite}](tables/{suite}.md) | {about} |")
    for name, (title, write) in SCRIPTS.items():
        if name in others:
            page = f"tables/{Path(name).stem}.md"
            pages[page] = "\n".join([f"# {title}", "", *write(others[name])])
            listed.append(f"| [{Path(name).stem}]({page}) | {title.partition(': ')[2]} |")
    return {"README.md": front(runs, listed)} | pages


def front(runs: Mapping[str, Run], listed: list[str]) -> str:
    """The first page: ten rows and their picture, those of a GPU first; then the tables' names."""
    rows: list[str] = []
    for prefix in ("gpu-", ""):
        if found := standings(runs, prefix):
            dark, light = (f"tables/{prefix}{PICTURE}-{name}.png" for name in ("dark", "light"))
            rows += [
                *headline_table(found),
                "",
                f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
                f'<img src="{light}" alt="times as fast as the best peer"></picture>',
                "",
            ]
    text = FRONT.format(rows="\n".join(rows).rstrip(), pages="\n".join(listed))
    return f"{text}\n{METHOD}"


def all_pictures(runs: Mapping[str, Run]) -> dict[str, bytes]:
    """The first page's pictures, by file name."""
    found = {prefix: standings(runs, prefix) for prefix in ("gpu-", "")}
    return {
        name: drawn
        for prefix, each in found.items()
        if each
        for name, drawn in pictures(each, prefix).items()
    }


if __name__ == "__main__":
    sys.exit(main())
