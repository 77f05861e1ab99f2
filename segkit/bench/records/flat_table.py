"""Results as one flat table: a line a row, without samples, empty where unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segkit.bench.records.record import Record
from segkit.bench.records.row import (
    Achieved,
    Checkerboard,
    Correctness,
    Counts,
    Memory,
    Quality,
    Relative,
    Row,
    Summary,
)
from segkit.bench.records.run import Run
from segkit.reporting.tables import as_csv_text


def flat(row: Row) -> dict[str, Any]:
    """A row without its samples as one level of columns, empty where unknown."""
    table: dict[str, Any] = {"name": row.case.name, "status": row.status, "reason": row.reason}
    table |= row.case.model_dump()
    table |= {"images_per_s": row.images_per_s}
    for phase in ("step", "forward", "backward", "optimizer"):
        summary = row.times.get(phase)
        for key in Summary.model_fields:
            table[f"{phase}_{key}"] = getattr(summary, key) if summary else None
    nested: dict[str, tuple[type[Record], Record | None]] = {
        "memory": (Memory, row.memory),
        "counts": (Counts, row.counts),
        "achieved": (Achieved, row.achieved),
        "correctness": (Correctness, row.correctness),
        "relative": (Relative, row.relative),
        "quality": (Quality, row.quality),
        "checkerboard": (Checkerboard, row.checkerboard),
    }
    for part, (kind, found) in nested.items():
        for key in kind.model_fields:
            table[f"{part}_{key}"] = getattr(found, key) if found else None
    for key in ("compile_s", "first_step_s", "set_up_s", "noisy", "energy_j_per_image", "clock"):
        table[key] = getattr(row, key)
    return table


def write_csv(run: Run, file: Path) -> None:
    """One line a row, without samples."""
    tables = [flat(row) for row in run.rows]
    header = list(tables[0]) if tables else ["name"]
    text = as_csv_text([header, *([table[key] for key in header] for table in tables)])
    file.write_text(text, encoding="utf-8")
