"""The rule by which stored values become labels, and the labelling of a data set it belongs to."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from segkit.data.files.masks import RGB, MaskFacts, pack, unpack
from segkit.data.files.transitions import renamed
from segkit.data.findings import Finding
from segkit.errors import DataError

UNKNOWN = np.iinfo(np.int64).min
SLOT_BITS, TRIES = 12, 100


@dataclass(frozen=True)
class LabelRule:
    """How stored values become labels.

    table      {stored value: label}; with `colour`, the values are packed colours
    threshold  values from here on are label 1, the rest 0 (then the table is empty)
    objects    values are object numbers: label 1 where above 0, unless the table says otherwise
    boundary   label 2 for the outermost pixels of each object, where objects are told apart
    """

    table: Mapping[int, int] = field(default_factory=dict)
    colour: bool = False
    threshold: int | None = None
    objects: bool = False
    boundary: bool = False

    def labels(self, values_HW: np.ndarray, path: Path) -> np.ndarray:
        """(H, W) int64 labels; raises DataError SK-D012 for a value not there at the start."""
        if self.threshold is not None:
            return (values_HW >= self.threshold).astype(np.int64)
        if values_HW.dtype in (np.uint8, np.uint16):
            few = 256 if values_HW.dtype == np.uint8 else 65536
            labels_HW = self._label_of_index[:few][values_HW]
        elif values_HW.dtype == np.int32 and self.colour and self._slots is not None:
            labels_HW = self._slots.labels(values_HW)
        else:
            present, position_HW = np.unique(values_HW, return_inverse=True)
            labels = np.array([self.label(int(value)) for value in present])
            labels_HW = labels[position_HW].reshape(values_HW.shape)
        if labels_HW.min() == UNKNOWN:
            row, column = np.argwhere(labels_HW == UNKNOWN)[0]
            value = int(values_HW[row, column])
            raise DataError(
                "SK-D012",
                f"{path} holds the value {unpack(value) if self.colour else value}, which no mask "
                f"held when the data set was opened, in row {row}, column {column} (from 0).",
                "Were the files changed meanwhile? Start again.",
            )
        if self.boundary:
            labels_HW[(labels_HW == 1) & rim(values_HW)] = 2
        return labels_HW

    def digest(self) -> str:
        """The same for two rules that give the same labels."""
        how = (self.colour, self.threshold, self.objects, self.boundary)
        text = repr((sorted(self.table.items()), *how))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    @cached_property
    def _label_of_index(self) -> np.ndarray:
        values = np.arange(65536)
        labels = (values > 0).astype(np.int64) if self.objects else np.full(65536, UNKNOWN)
        within = {value: label for value, label in self.table.items() if 0 <= value < 65536}
        labels[list(within)] = list(within.values())
        return labels

    @cached_property
    def _slots(self) -> Slots | None:
        return Slots.of(self.table)

    def values_of(self, facts: MaskFacts) -> Mapping[int, int]:
        """Pixels of each value of a mask, as this rule sees them: indices or colours."""
        return as_colours(facts).counts if self.colour else facts.counts

    def object_numbers(self, values_HW: np.ndarray, labels_HW: np.ndarray) -> np.ndarray | None:
        """(H, W) int64, 0 background, one number per object; None where the masks hold none."""
        if not self.objects:
            return None
        return np.where((labels_HW == 1) | (labels_HW == 2), values_HW, 0).astype(np.int64)

    def label(self, value: int) -> int:
        """The label of one stored value; UNKNOWN where no rule covers it."""
        if self.threshold is not None:
            return int(value >= self.threshold)
        if self.objects:
            return self.table.get(value, int(value > 0))
        return self.table.get(value, UNKNOWN)


@dataclass(frozen=True)
class Slots:
    """Labels of packed colours without a search: each colour has a slot of its own.

    multiplier   its product with a colour, modulo 2**32, begins with the number of the slot
    colours      the colour of each slot; UNKNOWN where there is none
    label        of each slot
    """

    multiplier: int
    colours: np.ndarray
    label: np.ndarray

    @classmethod
    def of(cls, table: Mapping[int, int]) -> Slots | None:
        """Slots for a table's colours; None for more colours than find one each."""
        colours = np.array(list(table), np.uint32)
        # Multiplicative hashing (Knuth, volume 3, 6.4) with the first factor that parts them all.
        for multiplier in np.random.default_rng(0).integers(2**32, size=TRIES, dtype=np.uint32) | 1:
            slots = (colours * multiplier) >> (32 - SLOT_BITS)
            if len(np.unique(slots)) == len(colours):
                found = cls(int(multiplier), *np.full((2, 2**SLOT_BITS), UNKNOWN))
                found.colours[slots], found.label[slots] = colours, list(table.values())
                return found
        return None

    def labels(self, values_HW: np.ndarray) -> np.ndarray:
        """(H, W) int64; UNKNOWN for colours that are not in the table."""
        slots_HW = (values_HW.view(np.uint32) * np.uint32(self.multiplier)) >> (32 - SLOT_BITS)
        known_HW = self.colours[slots_HW] == values_HW
        return np.where(known_HW, self.label[slots_HW], UNKNOWN)


class QuickLabels:
    """A rule's labels for masks of 8 bits as uint8, by one table; called with values and a path.

    Other masks, and labels that 8 bits do not hold, get what the rule itself gives.
    """

    def __init__(self, rule: LabelRule, classes: int, ignore_index: int | None) -> None:
        self.rule = rule
        known = {*range(classes), *(() if ignore_index is None else (ignore_index,))}
        free = sorted(set(range(256)) - known)
        self.table_256: np.ndarray | None = None
        if free and max(known) < 256 and min(known) >= 0 and not rule.boundary:
            self.stray = free[0]
            labels = [rule.label(value) for value in range(256)]
            told = [label if label in known else self.stray for label in labels]
            self.table_256 = np.array(told, np.uint8)
            # Values below are their own labels.
            self.own = next((v for v in range(256) if told[v] != v or v not in known), 256)

    def __call__(self, values_HW: np.ndarray, path: Path) -> np.ndarray:
        """Raises DataError SK-D012 as `LabelRule.labels` does."""
        if self.table_256 is None or values_HW.dtype != np.uint8 or not values_HW.size:
            return self.rule.labels(values_HW, path)
        # OpenCV finds the largest of a crop's scattered rows in a third of NumPy's time.
        if cv2.norm(values_HW, cv2.NORM_INF) < self.own:
            return values_HW
        labels_HW = cv2.LUT(values_HW, self.table_256)
        if (labels_HW == self.stray).any():
            return self.rule.labels(values_HW, path)
        return labels_HW


@dataclass(frozen=True)
class Labelling:
    """The labels of a data set.

    rule       from stored values to labels
    classes    names, in label order
    palette    a colour each
    notes      what was decided, a sentence each
    questions  warnings: what was decided, and may be wrong
    """

    rule: LabelRule
    classes: tuple[str, ...]
    palette: tuple[RGB, ...]
    ignore_index: int | None
    notes: tuple[str, ...]
    questions: tuple[Finding, ...] = ()


def rim(values_HW: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels with another value among their eight neighbours."""
    wide_HW = np.pad(values_HW, 1, mode="edge")
    height, width = values_HW.shape
    differs_HW = np.zeros((height, width), bool)
    for down in range(3):
        for right in range(3):
            differs_HW |= wide_HW[down : down + height, right : right + width] != values_HW
    return differs_HW


def as_colours(facts: MaskFacts) -> MaskFacts:
    """The facts of an index or grey mask as if its file held colours."""
    if facts.colour:
        return facts
    grey = pack((1, 1, 1))
    colours = {v: pack(facts.palette[v]) if v in facts.palette else v * grey for v in facts.counts}
    return replace(_renamed(facts, colours), colour=True)


def as_greys(facts: MaskFacts) -> MaskFacts:
    """The facts of an index mask whose palette holds greys, as if it held those."""
    return _renamed(facts, {value: colour[0] for value, colour in facts.palette.items()})


def _renamed(facts: MaskFacts, names: Mapping[int, int]) -> MaskFacts:
    counts: Counter[int] = Counter()
    for value, pixels in facts.counts.items():
        counts[names.get(value, value)] += pixels
    crossings = renamed(facts.transitions, names)
    return replace(facts, counts=dict(counts), palette={}, transitions=crossings)
