"""Tables as plain aligned text: what a terminal, a pipe and a bug report all show alike."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[object]], header: Sequence[str] = ()) -> str:
    """The rows as columns of equal width, two spaces apart; columns of numbers stand at the right.

    A float is shown with four decimals, None as an empty cell, NaN as n/a.
    """
    count = max((len(row) for row in [*rows, header]), default=0)
    columns = [[row[at] if at < len(row) else None for row in rows] for at in range(count)]
    shown = []
    for at, cells in enumerate(columns):
        texts = [_text(cell) for cell in cells]
        if header:
            texts.insert(0, header[at] if at < len(header) else "")
        width = max(len(text) for text in texts)
        numbers = any(isinstance(c, int | float) for c in cells) and not any(
            isinstance(c, str) for c in cells
        )
        shown.append([t.rjust(width) if numbers else t.ljust(width) for t in texts])
    return "\n".join("  ".join(row).rstrip() for row in zip(*shown, strict=True))


def as_csv_text(rows: Sequence[Sequence[object]]) -> str:
    """A table as CSV; what is None is an empty cell.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    text = io.StringIO()
    plain = ([_harmless(cell) for cell in row] for row in rows)
    csv.writer(text, lineterminator="\n").writerows(plain)
    return text.getvalue()


def _harmless(cell: object) -> object:
    formula = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{cell}" if formula else cell


def in_units(number: float) -> str:
    """A count as people say it: 950, 12.3 k, 7.98 M, 2.9 G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g}"


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.4f}" if cell == cell else "n/a"
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return str(cell)
