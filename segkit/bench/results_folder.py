"""The folder of a benchmark's results: new or empty, then written, tables before pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segkit.bench.records.compact_json import compact
from segkit.bench.records.flat_table import write_csv
from segkit.bench.records.row import Row
from segkit.bench.records.run import Run
from segkit.errors import PluginError, UsageError
from segkit.storage import storage_errors

FAULT = "SK-P007"


def write_results(run: Run, folder: Path) -> None:
    """results.json, results.csv, pictures and report.html; the results first, whatever follows."""
    from segkit.bench.pages.result import write_report

    write_tables(run, folder)
    with storage_errors(folder):
        write_report(run, folder)


def write_tables(run: Run, folder: Path) -> None:
    """results.json and results.csv."""
    with storage_errors(folder):
        (folder / "results.json").write_text(run.to_json(), encoding="utf-8")
        write_csv(run, folder / "results.csv")


def write_samples(samples: Mapping[str, Any], folder: Path) -> None:
    """samples.json: the seconds of every step, by case, phase and round."""
    with storage_errors(folder):
        (folder / "samples.json").write_text(compact(samples) + "\n", encoding="utf-8")


def refuse_taken(folder: Path) -> None:
    """Raises UsageError SK-C012 where something is there already, or in the way."""
    fix = "Give another folder with --out."
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError("SK-C012", f"{folder} is not empty.", fix)
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        raise UsageError("SK-C012", f"{there} is no folder.", fix)


def make_folder(folder: Path) -> None:
    """A new folder, or an empty one; raises UsageError SK-C012, StorageError."""
    refuse_taken(folder)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def refuse_nothing(run: Run, folder: Path) -> None:
    """Raises UsageError SK-B004 where no row was measured, PluginError where plugins failed."""
    if any(row.status == "ok" for row in run.rows) or run.interrupted:
        return
    first: Row = run.rows[0]
    if all(row.reason.startswith(FAULT) for row in run.rows):
        what = first.reason.removeprefix(f"{FAULT}: ")
        raise PluginError(
            FAULT, what, f"Please report it to its authors; see {folder / 'results.csv'} too."
        )
    raise UsageError(
        "SK-B004",
        f"none of the {len(run.rows)} cases could be measured; the first, {first.case.name}: "
        f"{first.status} ({first.reason}).",
        f"{folder / 'results.csv'} says why for each.",
    )
