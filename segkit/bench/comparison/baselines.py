"""Which case a suite holds each of its cases against, and what comes of it.

A baseline is written as a case's full name, as one of its components (`timm/resnet18`,
`peers/smp_unet(encoder=resnet18)`), or as settings that differ from a case's own
(`{precision: fp32}`). Every case is held against the one among those so named that is most like
it; mode, size, batch and classes are the same, unless the baseline itself names them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from segkit.bench.comparison.statistics import lengthened, paired_ratio, ratio_interval
from segkit.bench.records.case import Case
from segkit.bench.records.controls import Controls
from segkit.bench.records.row import Relative, Row

Baseline = str | Mapping[str, object]

COMPONENTS = ("encoder", "decoder", "upsampler", "loss", "benchmark", "data", "onnx")
# Times of cases that differ in one of these say nothing of one another.
DECISIVE = ("mode", "size", "batch", "classes")


def baselines_of(cases: Mapping[str, Case], wanted: Mapping[str, Baseline]) -> dict[str, str]:
    """The name of each case's baseline; cases that have none are left out.

    wanted   by case name: the baseline as it is written
    """
    found: dict[str, str] = {}
    for name, written in wanted.items():
        own = cases[name]
        alike = [case for case in cases.values() if _fits(case, written, own)]
        if alike:
            found[name] = max(alike, key=lambda case: _likeness(case, own)).name
    return found


def together(names: Sequence[str], baselines: Mapping[str, str]) -> list[list[str]]:
    """The cases in groups to be measured in the same rounds: a baseline first, then its own."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(baselines.get(name, name), []).append(name)
    for first, group in groups.items():
        if first in group:
            group.remove(first)
            group.insert(0, first)
    return list(groups.values())


def with_ratios(
    rows: Sequence[Row], baselines: Mapping[str, str], controls: Controls | None, seed: int = 0
) -> list[Row]:
    """The rows with what each is beside its baseline; rows without times stay as they are."""
    by_name = {row.case.name: row for row in rows}
    band = controls.band if controls else 1.0
    found = []
    for row in rows:
        other = by_name.get(baselines.get(row.case.name, ""))
        relative = _relative(row, other, band, seed) if other is not None else None
        found.append(row.model_copy(update={"relative": relative}) if relative else row)
    return found


def _relative(row: Row, baseline: Row, band: float, seed: int) -> Relative | None:
    own, theirs = lengthened(row), lengthened(baseline)
    if row.status != "ok" or baseline.status != "ok" or min(len(own), len(theirs)) < 2:
        return None
    paired = row.group == baseline.group
    compute = paired_ratio if paired else ratio_interval
    speed, low, high = compute(theirs, own, seed)
    # A step of twice the images may take twice the time.
    units = 1.0
    if row.unit == baseline.unit:
        units = row.units_per_step / baseline.units_per_step
    speed, low, high = speed * units, low * units, high * units
    memory = None
    if row.memory and baseline.memory and baseline.memory.peak_bytes:
        memory = row.memory.peak_bytes / baseline.memory.peak_bytes
    return Relative(
        baseline=baseline.case.name,
        speed=speed,
        low=low,
        high=high,
        memory=memory,
        paired=paired,
        tie=low <= 1 <= high or 1 / band <= speed <= band,
    )


def _fits(case: Case, written: Baseline, row: Case) -> bool:
    """Whether a case is one that `written` names for this row."""
    if not isinstance(written, str):
        return case.model_dump() == {**row.model_dump(), **written}
    if _plain(written) == _plain(case.name):
        return True
    parts = {_plain(part) for axis in COMPONENTS if (part := getattr(case, axis))}
    return _plain(written) in parts and all(
        getattr(case, axis) == getattr(row, axis) for axis in DECISIVE
    )


def _likeness(case: Case, row: Case) -> int:
    return sum(getattr(case, axis) == getattr(row, axis) for axis in Case.model_fields)


def _plain(written: str) -> str:
    return re.sub(r"[\s'\"]", "", written)
