"""Where images and masks lie: the folder layouts segkit knows, and the pairing of names.

A layout turns a folder into pairs by split. Nothing is guessed: what does not pair is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from segkit.data.decoding import SUFFIXES
from segkit.data.findings import Finding
from segkit.data.settings import DataSettings
from segkit.errors import DataError

SPLITS = ("train", "val", "test")
SYSTEM_FILES = frozenset(("thumbs.db", "desktop.ini"))


@dataclass(frozen=True)
class Pair:
    """An image file and its mask file; `id` is the image's path below its folder, no suffix."""

    id: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Layout:
    """What a folder holds.

    splits    pairs by split, in the order of their ids
    notes     sentences on what was found and decided
    findings  what does not pair
    drawn     the split is not given but drawn
    """

    splits: Mapping[str, tuple[Pair, ...]]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    drawn: bool = False

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs by id, each once (two splits may share some)."""
        every = {pair for pairs in self.splits.values() for pair in pairs}
        return tuple(sorted(every, key=lambda pair: (pair.id, pair.image)))


def find_layout(root: Path, settings: DataSettings, *, val_share: float, seed: int) -> Layout:
    """The pairs of `root` by split; raises DataError SK-D001, D009 or D010."""
    base = settings.path or (root.parent if root.is_file() else root)
    if not base.is_dir():
        raise DataError("SK-D001", f"there is no folder {base}.", "Check the path given as --data.")
    if settings.train or settings.val or settings.test:
        return _declared(base, settings)
    for layout in LAYOUTS:
        found = layout(base, settings, val_share, seed)
        if found is not None:
            return found
    raise DataError("SK-D001", f"{base} holds {_contents(base)}.", EXPECTED)


EXPECTED = (
    "segkit looks for images/ and masks/, with or without train/, val/ and test/ in each, "
    "or for a data.yaml that says where they are."
)


def _contents(base: Path) -> str:
    names = sorted(p.name + "/" * p.is_dir() for p in base.iterdir() if not is_system_file(p))
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return f"no layout that segkit knows, only {shown}" if names else "nothing"


def is_system_file(path: Path) -> bool:
    """Files that operating systems leave behind: .DS_Store, ._x.jpg, Thumbs.db."""
    return path.name.startswith(".") or path.name.lower() in SYSTEM_FILES


def list_files(folder: Path) -> dict[str, list[Path]]:
    """Image files below `folder` by id, the path below it without suffix."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or is_system_file(path) or path.is_dir():
            continue
        found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    return found


def pair_folders(
    images: Path, masks: Path, mask_suffix: str = ""
) -> tuple[tuple[Pair, ...], tuple[Finding, ...]]:
    """Every image of one folder with its mask of the other, and what does not pair (SK-D002).

    Raises DataError SK-D001 where there are no images at all.
    """
    image_files, mask_files = list_files(images), list_files(masks)
    if not image_files:
        raise DataError("SK-D001", f"{images} holds no images.", EXPECTED)
    findings = [*_twins(image_files, "image"), *_twins(mask_files, "mask")]
    suffixed = {id + mask_suffix for id in image_files}
    lonely = [id for id in image_files if id + mask_suffix not in mask_files]
    spare = [id for id in mask_files if id not in suffixed]
    if lonely:
        what = f"{len(lonely)} of {len(image_files)} images in {images} have no mask: "
        files = tuple(image_files[id][0] for id in lonely)
        fix = _suffix_rule(lonely, spare)
        findings.append(Finding("SK-D002", what + _first(lonely) + ".", fix, files))
    if spare:
        what = f"{len(spare)} masks in {masks} have no image: {_first(spare)}."
        files = tuple(mask_files[id][0] for id in spare)
        findings.append(Finding("SK-D002", what, _suffix_rule(lonely, spare), files))
    pairs = tuple(
        Pair(id, files[0], mask_files[id + mask_suffix][0])
        for id, files in image_files.items()
        if id + mask_suffix in mask_files
    )
    return pairs, tuple(findings)


def _twins(files: Mapping[str, Sequence[Path]], what: str) -> list[Finding]:
    twins = [paths for paths in files.values() if len(paths) > 1]
    if not twins:
        return []
    names = " and ".join(str(path) for path in twins[0])
    return [
        Finding(
            "SK-D002",
            f"{len(twins)} {what}s exist twice under one name: {names}.",
            "Keep one of each: segkit does not guess which is meant.",
            tuple(path for paths in twins for path in paths),
        )
    ]


def _first(names: Sequence[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _suffix_rule(lonely: Sequence[str], spare: Sequence[str]) -> str:
    """The repair: a suffix that pairs most of them, the nearest name, or where files should go."""
    for id in lonely[:5]:
        for other in (mask for mask in spare if mask.startswith(id) and mask != id):
            suffix = other[len(id) :]
            fitting = sum(f"{each}{suffix}" in set(spare) for each in lonely)
            if fitting > len(lonely) / 2:
                return (
                    f"{id} and {other} look like a pair, and so do {fitting} in all: "
                    f"write `mask_suffix: {suffix}` into data.yaml."
                )
    near = [(id, get_close_matches(id, spare, n=1)) for id in lonely[:5]]
    for id, matches in near:
        if matches:
            return f"{id} and {matches[0]} are nearly alike: give an image and its mask one name."
    return "Give an image and its mask one name, and take out what has no partner."


def _split_folders(
    base: Path, settings: DataSettings, val_share: float, seed: int
) -> Layout | None:
    """images/{train,val,test} and masks/{train,val,test}."""
    images, masks = base / "images", base / "masks"
    present = [split for split in SPLITS if (images / split).is_dir()]
    if not present or not masks.is_dir():
        return None
    notes: list[str] = []
    splits: dict[str, tuple[Pair, ...]] = {}
    findings: list[Finding] = []
    for split in present:
        if not (masks / split).is_dir():
            notes.append(f"{images / split} has no masks/{split}: it is left out.")
            continue
        splits[split], found = pair_folders(images / split, masks / split, settings.mask_suffix)
        findings += found
    if not splits:
        raise DataError("SK-D001", f"{masks} has none of {', '.join(present)}.", EXPECTED)
    drawn = set(splits) == {"train"}
    if drawn:
        train, val = seeded_split(splits["train"], val_share, seed)
        splits = {"train": train, "val": val}
        notes.append(_split_note(val_share, seed))
    return Layout(splits, ("Layout: images/ and masks/ by split.", *notes), tuple(findings), drawn)


def _flat(base: Path, settings: DataSettings, val_share: float, seed: int) -> Layout | None:
    """images/ and masks/, with train.txt and val.txt or a seeded split."""
    if not (base / "images").is_dir() or not (base / "masks").is_dir():
        return None
    pairs, findings = pair_folders(base / "images", base / "masks", settings.mask_suffix)
    lists = {split: base / f"{split}.txt" for split in SPLITS if (base / f"{split}.txt").is_file()}
    if "train" in lists and len(lists) > 1:
        splits: dict[str, tuple[Pair, ...]] = {}
        listed: list[Finding] = []
        for split, file in lists.items():
            splits[split], found = _listed(pairs, file)
            listed += found
        named = ", ".join(file.name for file in lists.values())
        note = f"Layout: images/ and masks/, split by {named}."
        return Layout(splits, (note,), (*findings, *listed))
    if len(pairs) < 2:
        note = f"{len(pairs)} pair is too few to train and validate: no split is made."
        return Layout({"all": pairs}, ("Layout: images/ and masks/.", note), findings)
    train, val = seeded_split(pairs, val_share, seed)
    notes = ("Layout: images/ and masks/.", _split_note(val_share, seed))
    return Layout({"train": train, "val": val}, notes, findings, drawn=True)


LAYOUTS: tuple[Callable[[Path, DataSettings, float, int], Layout | None], ...] = (
    _split_folders,
    _flat,
)


def _split_note(val_share: float, seed: int) -> str:
    return f"No split is given: {val_share:.0%} is drawn for validation with seed {seed}."


def seeded_split(
    pairs: Sequence[Pair], val_share: float, seed: int
) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """(train, val), at least one of each where there are two, drawn by the seed alone."""
    count = min(max(1, round(len(pairs) * val_share)), len(pairs) - 1)
    drawn = set(np.random.default_rng(seed).permutation(len(pairs))[:count].tolist())
    train = tuple(pair for i, pair in enumerate(pairs) if i not in drawn)
    return train, tuple(pair for i, pair in enumerate(pairs) if i in drawn)


def _listed(pairs: Sequence[Pair], file: Path) -> tuple[tuple[Pair, ...], tuple[Finding, ...]]:
    """The pairs a text file names, and the names that are none (SK-D002)."""
    by_id = {pair.id: pair for pair in pairs}
    chosen, missing = [], []
    for line in file.read_text(encoding="utf-8").splitlines():
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        id = _id(name)
        pair = by_id.get(name) or by_id.get(id) or by_id.get(Path(id).name)
        if pair is None:
            missing.append(name)
        else:
            chosen.append(pair)
    findings = []
    if missing:
        what = f"{file} names {len(missing)} images that do not exist: {_first(missing)}."
        fix = "A line holds an image's name below images/, with or without suffix."
        findings.append(Finding("SK-D002", what, fix, (file,)))
    elif not chosen:
        what = f"{file} is empty."
        findings.append(Finding("SK-D010", what, "It holds an image's name a line.", (file,)))
    return tuple(dict.fromkeys(chosen)), tuple(findings)


def _id(name: str) -> str:
    path = Path(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in SUFFIXES else path.as_posix()


def _declared(base: Path, settings: DataSettings) -> Layout:
    """The splits that data.yaml names: folders of images, or text files of names."""
    splits: dict[str, tuple[Pair, ...]] = {}
    findings: list[Finding] = []
    for split in SPLITS:
        given = getattr(settings, split)
        if given is None:
            continue
        place = base / given
        if place.is_dir():
            beside = _masks_beside(place, base)
            splits[split], found = pair_folders(place, beside, settings.mask_suffix)
            findings += found
        elif place.is_file():
            pairs, found = pair_folders(base / "images", base / "masks", settings.mask_suffix)
            splits[split], missing = _listed(pairs, place)
            findings += [each for each in (*found, *missing) if each not in findings]
        else:
            raise DataError(
                "SK-D009",
                f"{settings.file} says {split}: {given}, and there is no {place}.",
                "It is a folder of images or a text file of names, below `path`.",
            )
    return Layout(splits, (f"Layout: as {settings.file} says.",), tuple(findings))


def _masks_beside(images: Path, base: Path) -> Path:
    """images/x -> masks/x: the folder with its last part called images replaced."""
    parts = list(images.relative_to(base).parts) if images.is_relative_to(base) else []
    for i in reversed(range(len(parts))):
        if parts[i] == "images":
            masks = base.joinpath(*parts[:i], "masks", *parts[i + 1 :])
            if masks.is_dir():
                return masks
    raise DataError(
        "SK-D009",
        f"no folder of masks belongs to {images}.",
        "Call the folders images/… and masks/…, alike but for that word.",
    )
