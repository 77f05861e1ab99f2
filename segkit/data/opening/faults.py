"""What makes samples unfit to learn from, and what is odd about them: one text for each fault.

Folders and sets by name are judged alike; each says by itself what a sample and its files are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segkit.data.findings import ERROR, WARNING, Finding

LEAST_SIDE = 8


@dataclass(frozen=True)
class Judged:
    """One sample of one split.

    image, mask      what they are called in messages
    counts           pixels of each label, the ignored one included
    lowest, highest  of the image's values
    digest           of the image's pixels
    files            of image and mask; none where they are not known
    """

    split: str
    image: str
    mask: str
    counts: Mapping[int, int]
    lowest: float
    highest: float
    digest: str
    files: tuple[Path, ...] = ()


def too_narrow(name: str, height: int, width: int, files: tuple[Path, ...] = ()) -> list[Finding]:
    """SK-D003 for an image that no network takes; mostly none."""
    if min(height, width) >= LEAST_SIDE:
        return []
    what = f"{name} is {height} x {width} (height x width): narrower than {LEAST_SIDE} pixels."
    return [Finding("SK-D003", what, "Take it out.", files)]


def of_one_value(
    name: str, lowest: float, highest: float, files: tuple[Path, ...] = ()
) -> list[Finding]:
    """SK-D020 for an image that shows nothing; mostly none."""
    if lowest != highest:
        return []
    return [Finding("SK-D020", f"{name} holds the value {lowest:g} all over.", "", files, WARNING)]


def in_two_splits(samples: Iterable[Judged], level: str = WARNING, fix: str = "") -> list[Finding]:
    """SK-D019 for each picture that lies in two splits; those of one value tell nothing."""
    first: dict[str, Judged] = {}
    findings = []
    for each in samples:
        twin = first.setdefault(each.digest, each)
        if twin.split != each.split and each.lowest != each.highest:
            what = f"{each.image} ({each.split}) is the same picture as {twin.image} ({twin.split})"
            files = (*twin.files[:1], *each.files[:1])
            findings.append(Finding("SK-D019", f"{what}.", fix, files, level))
    return findings


def unlearnable(
    samples: Sequence[Judged], classes: Sequence[str], ignore_index: int | None
) -> list[Finding]:
    """Masks that teach nothing (SK-D022), and classes that one split lacks (SK-D021)."""
    by_split: dict[str, Counter[int]] = {}
    ignored = []
    for each in (sample for sample in samples if sample.counts):
        by_split.setdefault(each.split, Counter()).update(each.counts)
        if set(each.counts) == {ignore_index}:
            what = f"{each.mask} is ignored all over."
            ignored.append(Finding("SK-D022", what, "", each.files[1:], WARNING))
    for counts in by_split.values():
        if ignore_index is not None:
            del counts[ignore_index]
    nothing = _nothing_counts(by_split, classes, ignore_index)
    if nothing and nothing[0].level == ERROR:
        return nothing
    return [*nothing, *ignored, *_lacking(by_split, classes)]


def _nothing_counts(
    by_split: Mapping[str, Counter[int]], classes: Sequence[str], ignore_index: int | None
) -> list[Finding]:
    """Where training is pointless: all is ignored, or all is one class."""
    if not by_split:
        return []
    present = set().union(*by_split.values())
    empty = by_split.keys() if not present else [s for s in ("train",) if not by_split.get(s, True)]
    if empty:
        what = (
            f"every pixel of all masks of {', '.join(empty)} is ignored (label {ignore_index}): "
            "there is nothing to learn and nothing to score."
        )
        fix = (
            "Look at a mask. If the label is a class, count it: --ignore-index none, or another "
            "label that is ignored. If these masks are not labelled yet, take them out."
        )
        return [Finding("SK-D022", what, fix)]
    if len(present) > 1:
        return []
    (label,) = present
    name = f" ('{classes[label]}')" if 0 <= label < len(classes) else ""
    what = (
        f"all masks hold one class alone, label {label}{name}: a network would learn to say it "
        "everywhere, and score perfectly."
    )
    fix = "Look at a mask: were the others exported, and is what is declared of their values right?"
    return [Finding("SK-D022", what, fix, (), WARNING)]


def _lacking(by_split: Mapping[str, Counter[int]], classes: Sequence[str]) -> list[Finding]:
    findings = []
    for split, label in ((s, n) for s in by_split for n in range(len(classes))):
        elsewhere = [other for other in by_split if by_split[other][label] and other != split]
        if not by_split[split][label] and elsewhere:
            what = f"'{classes[label]}' has no pixels in {split}, but in {elsewhere[0]}."
            findings.append(Finding("SK-D021", what, "", (), WARNING))
    return findings
