"""A look at the samples of a set by name: read once each, and all that is wrong with them.

A plugin's set has no files that segkit knows of, so its samples are judged as they are given. What
was found is remembered in the user's cache folder until the folder or the plugin's code changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segkit.data.files.facts import WORTH_KEEPING, Progress, cache_folder
from segkit.data.files.masks import count_values
from segkit.data.findings import Finding, from_error
from segkit.data.opening.faults import Judged, in_two_splits, of_one_value, too_narrow, unlearnable
from segkit.errors import SegkitError
from segkit.interfaces import Dataset, Sample
from segkit.model.label_range import labels_out_of_range
from segkit.storage import replace_text

# Raise it where facts change their meaning.
VERSION = 2


@dataclass(frozen=True)
class SampleFacts:
    """One sample.

    counts           pixels of each label; empty where it has no mask
    mask_size        height and width of the mask
    lowest, highest  of the image's values
    objects          the highest object number; None where it has none
    digest           of the pixels: equal pictures have equal ones
    mask_digest      of the labels and object numbers; empty where it has no mask
    """

    id: str
    height: int
    width: int
    channels: int
    dtype: str
    lowest: float
    highest: float
    counts: dict[int, int]
    mask_size: tuple[int, int]
    objects: int | None
    digest: str
    mask_digest: str


@dataclass(frozen=True)
class SampleLook:
    """What a look at the splits of a set found: facts by split, None for samples not readable."""

    facts: Mapping[str, tuple[SampleFacts | None, ...]]
    findings: tuple[Finding, ...]

    @property
    def readable(self) -> list[SampleFacts]:
        """The facts of all splits."""
        return [found for facts in self.facts.values() for found in facts if found is not None]


def look_at_samples(
    datasets: Mapping[str, Dataset], identity: str, progress: Progress | None = None
) -> SampleLook:
    """Reads every sample once, or remembers it under `identity`, and collects what is wrong."""
    file = cache_folder() / f"{hashlib.blake2b(identity.encode(), digest_size=12).hexdigest()}.json"
    known = _remembered(file)
    findings: list[Finding] = []
    if known is None or {s: len(f) for s, f in known.items()} != _lengths(datasets):
        known, findings = _read_all(datasets, progress)
        if not findings and sum(_lengths(datasets).values()) >= WORTH_KEEPING:
            _remember(file, known)
    findings += _faults(datasets, known)
    findings += _oddities(datasets, known)
    return SampleLook(known, tuple(findings))


def fingerprint(*places: Path) -> str:
    """Changes where any of these files, or below these folders, changes name, size or time."""
    digest = hashlib.blake2b(digest_size=16)
    for place in places:
        for path in sorted(_files(place)):
            with contextlib.suppress(OSError):
                status = os.stat(path)  # noqa: PTH116 - paths are plain text here, for speed
                digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _files(place: Path) -> Iterator[str]:
    if place.is_file():
        yield str(place)
    for where, folders, names in os.walk(place):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (f"{where}/{name}" for name in names)


def _lengths(datasets: Mapping[str, Dataset]) -> dict[str, int]:
    return {split: len(dataset) for split, dataset in datasets.items()}


def _read_all(
    datasets: Mapping[str, Dataset], progress: Progress | None
) -> tuple[dict[str, tuple[SampleFacts | None, ...]], list[Finding]]:
    findings: list[Finding] = []
    facts: dict[str, tuple[SampleFacts | None, ...]] = {}
    done, count = 0, sum(_lengths(datasets).values())
    for split, dataset in datasets.items():
        found: list[SampleFacts | None] = []
        # One after the other: nothing says that a stranger's data set may be read from threads.
        for index in range(len(dataset)):
            try:
                found.append(_facts(dataset[index]))
            except SegkitError as error:
                findings.append(from_error(error))
                found.append(None)
            done += 1
            if progress is not None:
                progress(done, count)
        facts[split] = tuple(found)
    return facts, findings


def _facts(sample: Sample) -> SampleFacts:
    image_HWC, mask_HW = sample.image, sample.mask
    return SampleFacts(
        id=sample.id,
        height=image_HWC.shape[0],
        width=image_HWC.shape[1],
        channels=image_HWC.shape[2],
        dtype=str(image_HWC.dtype),
        lowest=float(image_HWC.min()),
        highest=float(image_HWC.max()),
        counts={} if mask_HW is None else _counts(mask_HW),
        mask_size=(0, 0) if mask_HW is None else (mask_HW.shape[0], mask_HW.shape[1]),
        objects=None if sample.instances is None else int(sample.instances.max()),
        digest=_digest(image_HWC),
        mask_digest="" if mask_HW is None else _digest(mask_HW, sample.instances),
    )


def _digest(*arrays: np.ndarray | None) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        if array is not None:
            digest.update(f"{array.shape} {array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _counts(mask_HW: np.ndarray) -> dict[int, int]:
    if mask_HW.min() >= 0 and mask_HW.max() < 2**16:
        mask_HW = mask_HW.astype(np.uint16)
    return count_values(mask_HW)


def _faults(
    datasets: Mapping[str, Dataset], facts: Mapping[str, Sequence[SampleFacts | None]]
) -> list[Finding]:
    """Samples that cannot be trained on."""
    fix = "Unpack the data set again; if it stays, tell the authors of the plugin."
    findings: list[Finding] = []
    for split, dataset in datasets.items():
        known = {*range(len(dataset.classes)), dataset.ignore_index}
        for found in facts[split]:
            if found is None:
                continue
            name = f"{split}: {found.id}"
            if not found.counts:
                findings.append(Finding("SK-D017", f"{name} has no mask.", fix))
            elif found.mask_size != (found.height, found.width):
                what = (
                    f"{name} is {found.height} x {found.width}, its mask "
                    f"{found.mask_size[0]} x {found.mask_size[1]} (height x width)."
                )
                findings.append(Finding("SK-D003", what, fix))
            findings += too_narrow(name, found.height, found.width)
            for label in sorted(found.counts.keys() - known):
                wrong = labels_out_of_range(
                    found.counts[label],
                    len(dataset.classes),
                    dataset.ignore_index,
                    labels=[label],
                    where=name,
                )
                findings.append(Finding(wrong.code, wrong.what, fix))
    return findings


def _oddities(
    datasets: Mapping[str, Dataset], facts: Mapping[str, Sequence[SampleFacts | None]]
) -> list[Finding]:
    """Pictures of one value or in two splits, absent classes, and masks that teach nothing."""
    findings: list[Finding] = []
    judged = []
    for split in datasets:
        for found in facts[split]:
            if found is None:
                continue
            name = f"{split}: {found.id}"
            span = (found.lowest, found.highest)
            findings += of_one_value(name, *span)
            judged.append(Judged(split, found.id, name, found.counts, *span, found.digest))
    train = datasets["train"]
    findings += in_two_splits(judged)
    return [*findings, *unlearnable(judged, train.classes, train.ignore_index)]


def _remembered(file: Path) -> dict[str, tuple[SampleFacts | None, ...]] | None:
    # A memory that is missing, damaged or of another version is none.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["version"] == VERSION:
            return {
                split: tuple(_restored(each) for each in facts)
                for split, facts in content["splits"].items()
            }
    return None


def _restored(content: dict[str, Any]) -> SampleFacts:
    counts = {int(label): int(pixels) for label, pixels in content["counts"].items()}
    height, width = content["mask_size"]
    return SampleFacts(**content | {"counts": counts, "mask_size": (height, width)})


def _remember(file: Path, facts: Mapping[str, Sequence[SampleFacts | None]]) -> None:
    """Writes the file, whole or not at all; where that fails, the next start looks again."""
    splits = {
        split: [asdict(found) for found in each if found is not None]
        for split, each in facts.items()
    }
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_text(file, json.dumps({"version": VERSION, "splits": splits}), durable=False)
