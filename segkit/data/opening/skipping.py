"""Leaving out bad samples where the user asks for it: a few, named, and never many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segkit.data.findings import ERROR, Finding
from segkit.data.opening.inspection import Inspection
from segkit.errors import DataError
from segkit.reporting.tables import as_csv_text

# Faults of single files; all else (labels, splits, channels) concerns the set as a whole.
OF_A_FILE = ("SK-D003", "SK-D004", "SK-D005", "SK-D006", "SK-D014", "SK-D015", "SK-D016", "SK-D018")
MOST_SKIPPED = 0.05


@dataclass(frozen=True)
class Skipped:
    """A sample left out, its image and mask (None where it has none), and why."""

    id: str
    image: Path
    mask: Path | None
    code: str
    reason: str


def without_bad_samples(seen: Inspection) -> tuple[Inspection, tuple[Skipped, ...]]:
    """The look without the samples whose files are at fault, and those samples.

    Raises DataError SK-D033 where they are more than 5 % of all.
    """
    faults = [f for f in seen.findings if f.level == ERROR and (f.code in OF_A_FILE or f.alone)]
    fault_of: dict[Path, Finding] = {}
    for fault in faults:
        for path in fault.files:
            fault_of.setdefault(path, fault)
    skipped = [
        Skipped(pair.id, pair.image, pair.mask, found.code, found.what)
        for pair in seen.layout.pairs
        if (found := fault_of.get(pair.image) or fault_of.get(pair.mask)) is not None
    ]
    without_mask = [(fault, path) for fault in faults if fault.alone for path in fault.files]
    skipped += [
        Skipped(path.stem, path, None, fault.code, f"{path} has no mask.")
        for fault, path in without_mask
    ]
    count = len(seen.layout.pairs) + len(without_mask)
    if len(skipped) > MOST_SKIPPED * count:
        raise DataError(
            "SK-D033",
            f"{len(skipped)} of {count} samples are bad, and at most {MOST_SKIPPED:.0%} are "
            f"skipped. The first: {skipped[0].reason}",
            "Repair them, or take them out: `segkit data check` lists all.",
        )
    bad = {(each.id, each.image) for each in skipped}
    splits = {
        split: tuple(pair for pair in pairs if (pair.id, pair.image) not in bad)
        for split, pairs in seen.layout.splits.items()
    }
    findings = tuple(finding for finding in seen.findings if finding not in faults)
    items = {pair: i for pair, i in seen.items.items() if (pair.id, pair.image) not in bad}
    layout = replace(seen.layout, splits=splits)
    return replace(seen, layout=layout, findings=findings, items=items), tuple(skipped)


def skipped_note(skipped: Sequence[Skipped]) -> str:
    more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
    plural = "s are" if len(skipped) > 1 else " is"
    return f"{len(skipped)} bad sample{plural} skipped: {skipped[0].id}{more}."


def as_csv(skipped: Sequence[Skipped]) -> str:
    """A line per sample: id, image, mask, code, reason."""
    header = ("id", "image", "mask", "code", "reason")
    rows = [(e.id, str(e.image), e.mask and str(e.mask), e.code, e.reason) for e in skipped]
    return as_csv_text([header, *rows])
