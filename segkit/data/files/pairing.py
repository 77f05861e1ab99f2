"""Images and their masks by name: files of a folder, pairs, lists of names, and drawn splits."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from segkit.data.files.decoding import ARRAY_SUFFIXES, SUFFIXES
from segkit.data.files.not_opened import OTHERS, counted, way_out
from segkit.data.files.reading import declaring
from segkit.data.findings import WARNING, Finding
from segkit.errors import DataError

SYSTEM_FILES = frozenset(("thumbs.db", "desktop.ini"))
NO_SPLIT = "No split is given"
NONE_DRAWN = f"{NO_SPLIT}, and none is drawn (val_share 0): every image trains, and none scores."
EXPECTED = (
    "segkit looks for images/ and masks/, with or without train/, val/ and test/ in each, "
    "or for a data.yaml that says where they are."
)


@dataclass(frozen=True)
class Pair:
    """An image file and its mask file; `id` is the image's path below its folder, no suffix.

    more   files with the image's further channels, one each
    """

    id: str
    image: Path
    mask: Path
    more: tuple[Path, ...] = ()

    @property
    def images(self) -> tuple[Path, ...]:
        """All files that make the image."""
        return (self.image, *self.more)


def is_system_file(path: Path) -> bool:
    """Files that operating systems leave behind: .DS_Store, ._x.jpg, Thumbs.db."""
    return path.name.startswith(".") or path.name.lower() in SYSTEM_FILES


def pictures_among(paths: Iterable[Path]) -> list[Path]:
    """The image files among these; arrays (.npy) only where there are no others."""
    files = [path for path in paths if not is_system_file(path) and not path.is_dir()]
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    return pictures or [path for path in files if path.suffix.lower() in ARRAY_SUFFIXES]


def list_files(folder: Path) -> dict[str, list[Path]]:
    """Image files below `folder` by id, the path below it without suffix."""
    found: dict[str, list[Path]] = {}
    for path in pictures_among(_below(folder)):
        id = path.relative_to(folder).with_suffix("").as_posix()
        found.setdefault(id, []).append(path)
    return found


def _below(folder: Path) -> list[Path]:
    # .ipynb_checkpoints and the like hold copies that are not meant.
    return [
        path
        for path in sorted(folder.rglob("*"))
        if not any(is_system_file(Path(part)) for part in path.relative_to(folder).parts)
    ]


def pair_folders(
    images: Path, masks: Path, mask_suffix: str, settings_file: Path
) -> tuple[tuple[Pair, ...], tuple[Finding, ...]]:
    """Every image of one folder with its mask of the other, and what does not pair (SK-D002).

    settings_file   the data.yaml that may say otherwise
    Masks in formats that are not opened are SK-D006. Raises DataError SK-D001 where there are no
    images at all, SK-D006 where all are in such formats.
    """
    image_files, mask_files = list_files(images), list_files(masks)
    if not image_files:
        others = _not_opened(images)
        if others:
            raise DataError("SK-D006", f"{images} holds {counted(others)}.", way_out(others))
        raise DataError("SK-D001", f"{images} holds no images.", EXPECTED)
    masked = [id + mask_suffix for id in image_files if id + mask_suffix not in mask_files]
    findings = _in_other_formats(masked, len(image_files), masks)
    otherwise = {_without_suffixes(path, masks) for each in findings for path in each.files}
    findings += [*_twins(image_files, "image"), *_twins(mask_files, "mask")]
    findings += _case_clashes(image_files)
    suffixed = {id + mask_suffix for id in image_files}
    lonely = [id for id in image_files if id + mask_suffix not in {*mask_files, *otherwise}]
    spare = [id for id in mask_files if id not in suffixed]
    if lonely:
        what = f"{len(lonely)} of {len(image_files)} images in {images} have no mask: "
        files = tuple(image_files[id][0] for id in lonely)
        fix = _pairing_rule(lonely, spare, masks, settings_file)
        what += first_of(lonely) + "."
        # Masks that belong to nothing may be theirs: then the names are wrong, and not the images.
        findings.append(Finding("SK-D002", what, fix, files, alone=not spare))
    if spare:
        what = f"{len(spare)} masks in {masks} have no image: {first_of(spare)}."
        files = tuple(mask_files[id][0] for id in spare)
        fix = _pairing_rule(lonely, spare, masks, settings_file)
        findings.append(Finding("SK-D002", what, fix, files))
    pairs = tuple(
        Pair(id, files[0], mask_files[id + mask_suffix][0])
        for id, files in image_files.items()
        if id + mask_suffix in mask_files
    )
    return pairs, tuple(findings)


def _in_other_formats(wanted: Sequence[str], images: int, masks: Path) -> list[Finding]:
    """Masks of these ids that are there, but in formats that are not opened."""
    found = {_without_suffixes(path, masks): path for path in _not_opened(masks)} if wanted else {}
    paths = [found[id] for id in wanted if id in found]
    if not paths:
        return []
    what = f"the masks of {len(paths)} of {images} images are {counted(paths)}."
    return [Finding("SK-D006", what, way_out(paths), tuple(paths))]


def _not_opened(folder: Path) -> list[Path]:
    """Files below a folder in formats that hold pictures elsewhere and are not opened here."""
    return [path for path in _below(folder) if path.suffix.lower() in OTHERS]


def _without_suffixes(path: Path, folder: Path) -> str:
    """The path below a folder, without its suffix, or both of them: a.nii.gz is a."""
    below = path.relative_to(folder)
    below = below.with_suffix("") if path.suffix.lower() == ".gz" else below
    return below.with_suffix("").as_posix()


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


def _case_clashes(files: Mapping[str, Sequence[Path]]) -> list[Finding]:
    """Names that differ in case alone: on Windows and macOS one would overwrite the other."""
    first: dict[str, str] = {}
    clashes = [id for id in files if first.setdefault(id.casefold(), id) != id]
    return [
        Finding(
            "SK-D023",
            f"{files[id][0]} and {files[first[id.casefold()]][0].name} differ in case alone.",
            "Rename one: not every system keeps both.",
            (files[id][0], files[first[id.casefold()]][0]),
            WARNING,
        )
        for id in clashes
    ]


def first_of(names: Sequence[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _pairing_rule(
    lonely: Sequence[str], spare: Sequence[str], masks: Path, settings_file: Path
) -> str:
    """The repair: a suffix or a prefix that pairs most of them, or the nearest name."""
    for id in lonely[:5]:
        for other in (mask for mask in spare if mask.startswith(id) and mask != id):
            suffix = other[len(id) :]
            fitting = sum(f"{each}{suffix}" in set(spare) for each in lonely)
            if fitting > len(lonely) / 2:
                return (
                    f"{id} and {other} look like a pair, and so do {fitting} in all: "
                    f"{declaring(f'mask_suffix: {suffix}', settings_file)}."
                )
    renaming = next(filter(None, (_renaming(id, lonely, spare, masks) for id in lonely[:5])), "")
    if renaming:
        return renaming
    near = [(id, get_close_matches(id, spare, n=1)) for id in lonely[:5]]
    for id, matches in near:
        if matches:
            return f"{id} and {matches[0]} are nearly alike: give an image and its mask one name."
    if lonely and not any(masks.rglob("*")):
        return f"{masks} is empty: put the masks there, each under the name of its image."
    return "Give an image and its mask one name, and take out what has no partner."


def _renaming(id: str, lonely: Sequence[str], spare: Sequence[str], masks: Path) -> str:
    """A command that renames masks whose names begin otherwise; "" where that is not all."""
    other = max(spare, key=lambda each: _same_end(id, each), default="")
    alike = _same_end(id, other)
    own, theirs = id[: len(id) - alike], other[: len(other) - alike]
    named = set(spare)
    fitting = sum(each.startswith(own) and theirs + each[len(own) :] in named for each in lonely)
    plain = re.fullmatch(r"[\w-]+", theirs) and re.fullmatch(r"[\w-]*", own)
    if not alike or not plain or fitting <= len(lonely) / 2:
        return ""
    return (
        f"{id} and {other} look like a pair, and so do {fitting} in all. To give each mask its "
        f'image\'s name: (cd {shlex.quote(str(masks))} && for f in {theirs}*; do mv "$f" '
        f'"{own}${{f#{theirs}}}"; done)'
    )


def _same_end(name: str, other: str) -> int:
    """How many letters two names have in common at their ends."""
    pairs = zip(reversed(name), reversed(other), strict=False)
    shorter = min(len(name), len(other))
    return next((i for i, (a, b) in enumerate(pairs) if a != b), shorter)


def split_note(val_share: float, seed: int, group: re.Pattern[str] | None = None) -> str:
    whole = f", whole groups by '{group.pattern}'" if group else ""
    return f"{NO_SPLIT}: {val_share:.0%} is drawn for validation with seed {seed}{whole}."


def group_of(id: str, pattern: re.Pattern[str]) -> str:
    """The recording or patient of an image by its name; "" where the name does not tell it."""
    found = pattern.search(id)
    return "" if found is None else found[1 if pattern.groups else 0] or ""


def seeded_split(
    pairs: Sequence[Pair], val_share: float, seed: int, group: re.Pattern[str] | None = None
) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """(train, val), at least one of each where there are two, drawn by the seed alone.

    group   tells the group of an image by its name: each is drawn whole, as far as that leaves
            images to train on
    """
    units: dict[str, list[int]] = {}
    for i, pair in enumerate(pairs):
        units.setdefault((group and group_of(pair.id, group)) or f"\n{i}", []).append(i)
    count = min(max(1, round(len(pairs) * val_share)), len(pairs) - 1)
    drawn: set[int] = set()
    every = list(units.values())
    for place in np.random.default_rng(seed).permutation(len(every)).tolist():
        if len(drawn) < count and len(drawn) + len(every[place]) < len(pairs):
            drawn.update(every[place])
    train = tuple(pair for i, pair in enumerate(pairs) if i not in drawn)
    return train, tuple(pair for i, pair in enumerate(pairs) if i in drawn)


def listed(pairs: Sequence[Pair], file: Path) -> tuple[tuple[Pair, ...], tuple[Finding, ...]]:
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
        what = f"{file} names {len(missing)} images that do not exist: {first_of(missing)}."
        fix = "A line holds an image's name below images/, with or without suffix."
        findings.append(Finding("SK-D002", what, fix, (file,)))
    elif not chosen:
        what = f"{file} is empty."
        findings.append(Finding("SK-D010", what, "It holds an image's name a line.", (file,)))
    return tuple(dict.fromkeys(chosen)), tuple(findings)


def _id(name: str) -> str:
    path = Path(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in SUFFIXES else path.as_posix()
