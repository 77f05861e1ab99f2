"""What a layout finds: pairs by split, and how a split is listed or drawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segkit.data.files.pairing import NONE_DRAWN, Pair, listed, seeded_split, split_note
from segkit.data.findings import Finding
from segkit.data.settings import DataSettings

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Declared:
    """What files other than data.yaml say: names, colours, an ignored label; any may be empty."""

    names: tuple[str, ...] = ()
    palette: Mapping[str, tuple[int, int, int]] | None = None
    ignore_index: int | None = None


@dataclass(frozen=True)
class Layout:
    """What a folder holds.

    splits    pairs by split, in the order of their ids
    notes     sentences on what was found and decided
    findings  what does not pair
    drawn     the split is not given but drawn
    declared  what the layout's own files say of names, colours and labels
    """

    splits: Mapping[str, tuple[Pair, ...]]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    drawn: bool = False
    declared: Declared | None = None

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs by id, each once (two splits may share some)."""
        every = {pair for pairs in self.splits.values() for pair in pairs}
        return tuple(sorted(every, key=lambda pair: (pair.id, pair.image)))


@dataclass(frozen=True)
class Draw:
    """How a split is drawn where none is given."""

    val_share: float
    seed: int
    group: re.Pattern[str] | None = None

    def layout(
        self,
        pairs: Sequence[Pair],
        note: str,
        findings: Sequence[Finding] = (),
        declared: Declared | None = None,
    ) -> Layout:
        """Training and validation pairs drawn by the seed; one pair alone is not split."""
        if pairs and not self.val_share:
            whole = {"train": tuple(pairs)}
            return Layout(whole, (note, NONE_DRAWN), tuple(findings), declared=declared)
        if len(pairs) < 2:
            have = f"{len(pairs)} pair is" if pairs else "no pairs are"
            few = f"{have} too few to train and validate: no split is made."
            return Layout({"all": tuple(pairs)}, (note, few), tuple(findings), declared=declared)
        train, val = seeded_split(pairs, self.val_share, self.seed, self.group)
        notes: tuple[str, ...] = (note, split_note(self.val_share, self.seed, self.group))
        if not val and self.group:
            train, val = seeded_split(pairs, self.val_share, self.seed)
            one = f"All images are of one group by '{self.group.pattern}', which is parted: scores "
            notes = (note, split_note(self.val_share, self.seed), f"{one}will flatter.")
        splits = {"train": train, "val": val}
        return Layout(splits, notes, tuple(findings), drawn=True, declared=declared)


FindLayout = Callable[[Path, DataSettings, Draw], Layout | None]


def split_by_lists(
    pairs: Sequence[Pair],
    folder: Path,
    note: str,
    findings: Sequence[Finding] = (),
    declared: Declared | None = None,
) -> Layout | None:
    """The split that train.txt and val.txt (or test.txt) of a folder make; None without them."""
    lists = {s: folder / f"{s}.txt" for s in SPLITS if (folder / f"{s}.txt").is_file()}
    if "train" not in lists or len(lists) < 2:
        return None
    splits: dict[str, tuple[Pair, ...]] = {}
    wrong = list(findings)
    for split, file in lists.items():
        splits[split], found = listed(pairs, file)
        wrong += found
    named = ", ".join(file.name for file in lists.values())
    return Layout(splits, (f"{note}, split by {named}.",), tuple(wrong), declared=declared)
