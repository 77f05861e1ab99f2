"""Writes docs/results.md and its picture from results/quality-*.json.

    python benchmarks/write_results.py [--check]

--check writes nothing and ends with status 1 where the page is not what the results say.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from contest_results import Results, by_machine, joined, minutes_of
from results_page import page

from segkit.bench.quality.picture import draw
from segkit.reporting.figures import DARK, LIGHT

HERE = Path(__file__).parent
PAGE, TABLES = HERE.parent / "docs" / "results.md", HERE / "tables"


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


def all_results() -> Results:
    """What `segkit bench quality` wrote, by file name, the shortest trainings first."""
    files = (HERE / "results").glob("quality-*.json")
    found = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}
    return dict(sorted(found.items(), key=lambda item: (minutes_of(item[1]), item[0])))


def pictures(results: Results) -> dict[str, bytes]:
    """By file name: of each machine, for light pages and for dark ones."""
    return {
        f"{machine.picture}-{theme.name}.png": draw(joined(found), theme)
        for machine, found in by_machine(results).items()
        for theme in (LIGHT, DARK)
    }


if __name__ == "__main__":
    sys.exit(main())
