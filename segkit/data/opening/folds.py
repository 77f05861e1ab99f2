"""The parts of a cross-validation: which images each training is validated on.

Whole recordings and patients are drawn, where they are known: a score on frames that lie between
the frames of the training says little (see layouts/neighbours).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import ceil
from typing import TypeVar

import numpy as np

from segkit.data.capabilities import sizes_of
from segkit.data.files.pairing import NO_SPLIT
from segkit.data.opening.folder import FolderDataset
from segkit.data.opening.opened import Data
from segkit.data.options import Fold
from segkit.data.stored import InParts, Stored, of_sample
from segkit.errors import UsageError
from segkit.interfaces import Dataset, Sample

# Of these the parts are made; a test split stays what it is.
POOLED = ("train", "val")
# A place in a data set: its split, and the index there.
Place = tuple[str, int]
Known = TypeVar("Known")


class Gathered(InParts):
    """Samples of several splits, in an order of their own.

    sizes   (height, width) of every sample; None where they are not known
    """

    def __init__(self, parts: Sequence[tuple[Dataset, int]]) -> None:
        self.parts = tuple(parts)
        first = parts[0][0]
        self.classes, self.palette = first.classes, first.palette
        self.ignore_index = first.ignore_index
        known = {id(dataset): sizes_of(dataset) for dataset, _ in parts}
        sizes = [known[id(dataset)] for dataset, _ in parts]
        self.sizes: list[tuple[int, int]] | None = None
        if all(each is not None for each in sizes):
            pairs = zip(sizes, parts, strict=True)
            self.sizes = [each[index] for each, (_, index) in pairs if each is not None]

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Sample:
        dataset, place = self.parts[index]
        return dataset[place]

    def stored(self, index: int) -> Stored:
        dataset, place = self.parts[index]
        return dataset.stored(place) if isinstance(dataset, InParts) else of_sample(dataset[place])

    def name(self, index: int) -> str:
        dataset, place = self.parts[index]
        if isinstance(dataset, InParts):
            return dataset.name(place)
        return f"sample number {place + 1}"


def with_fold(data: Data, fold: Fold, seed: int) -> Data:
    """The data whose fold `fold` validates, and all others for training or validation train.

    Raises UsageError SK-C009 where there are fewer images, or declared groups, than folds.
    """
    if fold.number > fold.of:
        raise UsageError(
            "SK-C009",
            f"fold is {fold.number}, and there are {fold.of}.",
            f"Give one from 1 to {fold.of}.",
        )
    pooled = [split for split in POOLED if split in data.splits] or list(data.splits[:1])
    places = [(split, index) for split in pooled for index in range(len(data.split(split)))]
    places.sort(key=lambda place: _natural(data, place))
    units, cut = _units(data, places, fold.of)
    if len(units) < fold.of:
        noun = "groups" if data.declared_groups else "images"
        raise UsageError(
            "SK-C009",
            f"{fold.of} folds of {len(units)} {noun}: each needs one at least.",
            f"Give --folds {len(units)}." if len(units) > 1 else "Leave --folds out.",
        )
    chosen = set(_drawn(units, fold.of, seed)[fold.number - 1])
    val = [place for place in places if place in chosen]
    train = [place for place in places if place not in chosen]
    others = [name for name in data.splits if name not in (*POOLED, "all")]
    notes = [note for note in data.notes if not note.startswith(NO_SPLIT)]
    by_split = {"train": train, "val": val}
    return replace(
        data,
        datasets={**data.datasets, "train": _subset(data, train), "val": _subset(data, val)},
        splits=("train", "val", *others),
        notes=(*notes, _note(data, fold, seed, len(train), len(val), cut=cut)),
        contents=_rearranged(data.contents, by_split),
        counts=_rearranged(data.counts, by_split),
        groups=_rearranged(data.groups, by_split),
    )


def _natural(data: Data, place: Place) -> list[tuple[int, str]]:
    """Sorts samples by their ids, numbers in them as numbers: so frames come in their order."""
    split, index = place
    if split not in data.contents:
        return []
    parts = re.split(r"(\d+)", data.contents[split][index][0])
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _units(data: Data, places: Sequence[Place], folds: int) -> tuple[list[list[Place]], bool]:
    """What no fold parts, and whether recordings had to be parted all the same.

    Recordings that pictures show are cut into runs of frames where there are too few of them; those
    that the user declares never are.
    """
    units: dict[object, list[Place]] = {}
    for place in places:
        split, index = place
        group = data.groups[split][index] if split in data.groups else ""
        units.setdefault(group or place, []).append(place)
    found = list(units.values())
    if len(found) >= folds or data.declared_groups:
        return found, False
    longest = ceil(len(places) / folds)
    runs = [run for unit in found for run in _runs(unit, ceil(len(unit) / longest))]
    if len(runs) < folds:
        runs = [[place] for place in places]
    return runs, len(runs) > len(found)


def _runs(unit: Sequence[Place], count: int) -> list[list[Place]]:
    """So many parts of nearly one length, in order."""
    ends = [round(part * len(unit) / count) for part in range(count + 1)]
    return [list(unit[start:end]) for start, end in pairwise(ends)]


def _drawn(units: Sequence[list[Place]], folds: int, seed: int) -> list[list[Place]]:
    """The units of each fold: in an order drawn by the seed, the largest first, each goes to the
    fold that has the fewest images."""
    order = np.random.default_rng(seed).permutation(len(units)).tolist()
    order.sort(key=lambda number: -len(units[number]))
    drawn: list[list[Place]] = [[] for _ in range(folds)]
    for number in order:
        min(drawn, key=len).extend(units[number])
    return drawn


def _subset(data: Data, places: Sequence[Place]) -> Dataset:
    parts = [(data.split(split), index) for split, index in places]
    first = parts[0][0]
    if not isinstance(first, FolderDataset):
        return Gathered(parts)
    # Of a folder's own kind: what asks for its files goes on to find them.
    own = copy.copy(first)
    own.items = tuple(part.items[i] for part, i in parts if isinstance(part, FolderDataset))
    return own


def _rearranged(
    known: Mapping[str, tuple[Known, ...]], by_split: Mapping[str, Sequence[Place]]
) -> dict[str, tuple[Known, ...]]:
    """What is known of each sample, by the splits that it now is in."""
    kept = {name: each for name, each in known.items() if name not in (*POOLED, "all")}
    for name, places in by_split.items():
        if all(split in known for split, _ in places):
            kept[name] = tuple(known[split][index] for split, index in places)
    return kept


def _note(data: Data, fold: Fold, seed: int, train: int, val: int, *, cut: bool) -> str:
    told = f"Fold {fold.number} of {fold.of}: {val} images validate and {train} train, drawn with "
    told += f"seed {seed}"
    if cut:
        return f"{told} as runs of frames of one recording: scores will flatter."
    return f"{told}{', whole recordings together' if data.groups else ''}."
