"""The report of `segkit data check`: the classes found, the files, and all findings by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from segkit.data.checks.edges import EdgeAgreement, edge_agreement, edge_finding
from segkit.data.files.masks import unpack
from segkit.data.findings import ERROR, Finding, as_error, by_code, from_error
from segkit.data.masks.label_rule import UNKNOWN, Labelling
from segkit.data.opening.folder import data_of
from segkit.data.opening.inspection import Inspection, label_counts
from segkit.data.opening.named import Named, data_of_named
from segkit.data.opening.opened import Data, untrainable
from segkit.data.opening.samples import SampleFacts, SampleLook
from segkit.data.options import DataOptions
from segkit.errors import CODES, SegkitError
from segkit.interfaces import Dataset


@dataclass(frozen=True)
class ClassRow:
    """One stored value, or one label where the masks are understood.

    label    None where its meaning is not known
    values   the values stored for it, as text; colours as (r, g, b)
    pixels   in all masks
    masks    in how many masks it occurs
    """

    label: int | None
    values: str
    name: str
    pixels: int
    masks: int


@dataclass(frozen=True)
class CheckReport:
    """What a check tells.

    splits    pairs by split
    classes   the class table
    sizes     how many images of each "height x width", most frequent first
    kinds     how many images of each "channels, dtype, format"
    notes     what was found and decided
    edges     how far the masks' edges follow the pictures' (see `edges`); None for too few pairs
    findings  by code: level, the code's meaning, and each finding's text, repair and files
    """

    splits: dict[str, int]
    classes: tuple[ClassRow, ...]
    sizes: dict[str, int]
    kinds: dict[str, int]
    notes: tuple[str, ...]
    edges: EdgeAgreement | None
    findings: tuple[dict[str, Any], ...]

    @property
    def has_errors(self) -> bool:
        return any(group["level"] == ERROR for group in self.findings)


def report_on(seen: Inspection, more: Sequence[Finding] = ()) -> CheckReport:
    """The report of a look at a data set, and what was found besides."""
    edges = edge_agreement(seen)
    splits = {split: len(pairs) for split, pairs in seen.layout.splits.items()}
    # Where nothing pairs, that has been said.
    missing = untrainable(splits) if seen.layout.pairs else None
    findings = [*seen.findings, *edge_finding(edges), *([missing] if missing else []), *more]
    images = seen.images.values()
    sizes = Counter(f"{facts.height} x {facts.width}" for facts in images)
    kinds = Counter(f"{_channels(f.channels)}, {f.dtype}, {f.format}" for f in images)
    return CheckReport(
        splits=splits,
        classes=tuple(_class_table(seen)),
        sizes=dict(sizes.most_common()),
        kinds=dict(kinds.most_common()),
        notes=_besides(findings, _notes(seen)),
        edges=edges,
        findings=tuple(_groups(findings)),
    )


def report_on_named(
    named: Named, look: SampleLook, options: DataOptions, more: Sequence[Finding] = ()
) -> tuple[CheckReport, Data | None]:
    """The report of a look at a set by name, and the data where they can be opened."""
    train, readable = named.datasets["train"], look.readable
    splits = {split: len(dataset) for split, dataset in named.datasets.items()}
    missing = untrainable(splits)
    findings = [*look.findings, *([missing] if missing else []), *more]
    data = None
    try:
        if as_error(look.findings) is None:
            data = data_of_named(named, look, options)
    except SegkitError as error:
        findings.append(from_error(error))
    return CheckReport(
        splits=splits,
        classes=tuple(_labels_of(train, readable)),
        sizes=dict(Counter(f"{f.height} x {f.width}" for f in readable).most_common()),
        kinds=dict(Counter(f"{_channels(f.channels)}, {f.dtype}" for f in readable).most_common()),
        notes=_besides(findings, data.notes if data else (f"{named.written} in {named.root}.",)),
        edges=None,
        findings=tuple(_groups(findings)),
    ), data


def _channels(count: int) -> str:
    return f"{count} channel{'s' * (count > 1)}"


def _labels_of(train: Dataset, readable: Sequence[SampleFacts]) -> list[ClassRow]:
    """A row for each class, and for each other label that a mask holds."""
    pixels: Counter[int] = Counter()
    masks: Counter[int] = Counter()
    for found in readable:
        pixels.update(found.counts)
        masks.update(found.counts.keys())
    names = dict(enumerate(train.classes))
    if train.ignore_index is not None:
        names[train.ignore_index] = "(ignored)"
    return [
        ClassRow(label, str(label), names.get(label, ""), pixels[label], masks[label])
        for label in sorted({*range(len(train.classes)), *pixels})
    ]


def _besides(findings: Sequence[Finding], notes: Sequence[str]) -> tuple[str, ...]:
    """The notes that are not among the findings: each thing is said once."""
    told = tuple(finding.what for finding in findings)
    return tuple(note for note in notes if not note.startswith(told))


def _notes(seen: Inspection) -> tuple[str, ...]:
    """The sentences a training would print too, as far as they can be said."""
    try:
        return data_of(seen).notes
    except SegkitError:
        labelling = seen.labelling
        return (*seen.layout.notes, *(labelling.notes if labelling is not None else ()))


def _groups(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [
        {
            "code": code,
            "level": ERROR if any(f.level == ERROR for f in alike) else alike[0].level,
            "meaning": CODES[code],
            "count": len(alike),
            "findings": [
                {"what": f.what, "fix": f.fix, "files": [str(path) for path in f.files]}
                for f in alike
            ],
        }
        for code, alike in by_code(findings).items()
    ]


def _class_table(seen: Inspection) -> list[ClassRow]:
    labelling = seen.labelling
    pixels: Counter[int] = Counter()
    masks: Counter[int] = Counter()
    for facts in seen.masks.values():
        counts = facts.counts if labelling is None else label_counts(facts, labelling)
        pixels.update(counts)
        masks.update(counts.keys())
    if labelling is not None:
        stored = _stored_values(seen, labelling)
        labels = sorted(set(pixels) | set(range(len(labelling.classes))))
        return [
            ClassRow(k, stored.get(k, ""), _name(labelling, k), pixels[k], masks[k]) for k in labels
        ]
    colour = any(facts.colour for facts in seen.masks.values())
    return [
        ClassRow(None, str(unpack(v)) if colour else str(v), "", pixels[v], masks[v])
        for v, _ in pixels.most_common()
    ]


def _stored_values(seen: Inspection, labelling: Labelling) -> dict[int, str]:
    """The values behind each label, a few of them."""
    values: dict[int, set[int]] = {}
    for facts in seen.masks.values():
        for value in labelling.rule.values_of(facts):
            values.setdefault(labelling.rule.label(value), set()).add(value)
    shown: dict[int, str] = {}
    for label, alike in values.items():
        few = sorted(alike)[:3]
        text = ", ".join(str(unpack(v)) if labelling.rule.colour else str(v) for v in few)
        shown[label] = text + (f", … ({len(alike)})" if len(alike) > 3 else "")
    return shown


def _name(labelling: Labelling, label: int) -> str:
    if label == labelling.ignore_index:
        return "(ignored)"
    return labelling.classes[label] if label != UNKNOWN else ""
