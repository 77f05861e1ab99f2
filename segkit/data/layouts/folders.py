"""Where images and masks lie: the folder layouts segkit knows.

A layout turns a folder into pairs by split. Nothing is guessed: what does not pair is listed.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path

from segkit.data.files.pairing import (
    EXPECTED,
    Pair,
    is_system_file,
    list_files,
    listed,
    pair_folders,
    pictures_among,
)
from segkit.data.files.reading import declaring
from segkit.data.findings import Finding, no_folder
from segkit.data.layouts.known import KNOWN
from segkit.data.layouts.layout import SPLITS, Draw, Layout, split_by_lists
from segkit.data.settings import ARCHIVES, FILE_NAMES, DataSettings, unpacking
from segkit.errors import DataError

# What images and masks are called by: us, mmsegmentation, milesial's Pytorch-UNet.
FOLDERS = (("images", "masks"), ("img_dir", "ann_dir"), ("imgs", "masks"))


def find_layout(root: Path, settings: DataSettings, *, val_share: float, seed: int) -> Layout:
    """The pairs of `root` by split; raises DataError SK-D001 or D009."""
    base = settings.path or (root.parent if root.is_file() else root)
    if not base.is_dir():
        raise no_folder(base)
    if settings.train or settings.val or settings.test:
        return _declared(base, settings)
    draw = Draw(val_share, seed, settings.group)
    for layout in (_split_folders, _flat, *KNOWN):
        found = layout(base, settings, draw)
        if found is not None:
            return found
    raise _half_of_it(base) or DataError(
        "SK-D001", f"{base} holds {_contents(base)}.", f"{_near(base) or _to_sort(base)}{EXPECTED}"
    )


def _half_of_it(base: Path) -> DataError | None:
    """What is said of images/ without masks/, and of masks/ without images/; None for neither."""
    for names in FOLDERS:
        for there, missing in (names, names[::-1]):
            if not (base / there).is_dir():
                continue
            fix = f"Put the {missing} there, each under the name of its partner in {there}/."
            alike = _alike(base, there)
            if alike:
                fix = f"{alike}/ holds as many pictures: if it is that, call it {missing}/."
            return DataError("SK-D001", f"{base} holds {there}/, and {missing}/ is missing.", fix)
    return None


def _alike(base: Path, name: str) -> str:
    """The first folder beside that one with as many pictures; "" where there is none."""
    count = sum(map(len, list_files(base / name).values()))
    folders = [each for each in sorted(base.iterdir()) if each.is_dir() and each.name != name]
    for folder in folders:
        if not is_system_file(folder) and sum(map(len, list_files(folder).values())) == count > 0:
            return folder.name
    return ""


def _near(base: Path) -> str:
    """The words "Did you mean DIR? " for a folder in or above a data set; what a run is; or ''."""
    if (base / "config.yaml").is_file() and (base / "model").is_dir():
        return f"{base} is a run: `segkit evaluate {base}` scores it on its own data.\n"
    beside = [base.parent, base.parent.parent, *sorted(p for p in base.iterdir() if p.is_dir())]
    found = [each for each in beside if _folders(each)]
    return f"Did you mean {' or '.join(map(str, found[:3]))}? " if found else ""


def _to_sort(base: Path) -> str:
    """What to do first with an archive, or with masks that lie among their images; "" for others.

    Masks among images are told by a suffix that the names of half the pictures have in common.
    """
    files = [path for path in sorted(base.iterdir()) if path.is_file()]
    archive = next((path for path in files if path.suffix.lower() in ARCHIVES), None)
    if archive is not None:
        return f"{archive.name} has to be unpacked first: {unpacking(archive)}\n"
    names = {path.stem for path in pictures_among(files)}
    ends = Counter(
        name.removeprefix(other) for name in names for other in names if _is_suffix(name, other)
    )
    suffix, count = ends.most_common(1)[0] if ends else ("", 0)
    if not count or 2 * count != len(names):
        return ""
    folder = shlex.quote(str(base))
    masks = f"mkdir {folder}/images {folder}/masks; mv {folder}/*{suffix}.* {folder}/masks/"
    images = {path.suffix for path in pictures_among(files) if not path.stem.endswith(suffix)}
    moved = " ".join(f"{folder}/*{end}" for end in sorted(images))
    beyond = declaring(f"mask_suffix: {suffix}", base / FILE_NAMES[0])
    return (
        f"Masks lie among their images: {masks}; mv {moved} {folder}/images/\n"
        f"Then say what their names have beyond: {beyond}.\n"
    )


def _is_suffix(name: str, other: str) -> bool:
    """Whether a name is another one and a word, as 7_mask is of 7."""
    return re.fullmatch(r"[_-][a-zA-Z]+", name.removeprefix(other)) is not None


def _contents(base: Path) -> str:
    names = sorted(p.name + "/" * p.is_dir() for p in base.iterdir() if not is_system_file(p))
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return f"no layout that segkit knows, only {shown}" if names else "nothing"


def _folders(base: Path) -> tuple[Path, Path] | None:
    """The folders of images and masks, by the first pair of names that both exist."""
    for images, masks in FOLDERS:
        if (base / images).is_dir() and (base / masks).is_dir():
            return base / images, base / masks
    return None


def _pairs(
    images: Path, masks: Path, settings: DataSettings
) -> tuple[tuple[Pair, ...], tuple[Finding, ...]]:
    return pair_folders(images, masks, settings.mask_suffix, settings.to_write)


def _split_folders(base: Path, settings: DataSettings, draw: Draw) -> Layout | None:
    """images/{train,val,test} and masks/{train,val,test}."""
    folders = _folders(base)
    present = [split for split in SPLITS if folders and (folders[0] / split).is_dir()]
    if folders is None or not present:
        return None
    images, masks = folders
    notes = [f"Layout: {images.name}/ and {masks.name}/ by split."]
    splits: dict[str, tuple[Pair, ...]] = {}
    findings: list[Finding] = []
    for split in present:
        if not (masks / split).is_dir():
            notes.append(f"{images / split} has no {masks.name}/{split}: it is left out.")
            continue
        splits[split], found = _pairs(images / split, masks / split, settings)
        findings += found
    if not splits:
        raise DataError("SK-D001", f"{masks} has none of {', '.join(present)}.", EXPECTED)
    if set(splits) == {"train"}:
        return draw.layout(splits["train"], " ".join(notes), findings)
    return Layout(splits, tuple(notes), tuple(findings))


def _flat(base: Path, settings: DataSettings, draw: Draw) -> Layout | None:
    """images/ and masks/, with train.txt and val.txt or a seeded split."""
    folders = _folders(base)
    if folders is None:
        return None
    pairs, findings = _pairs(*folders, settings)
    note = f"Layout: {folders[0].name}/ and {folders[1].name}/"
    by_list = split_by_lists(pairs, base, note, findings)
    return by_list or draw.layout(pairs, note + ".", findings)


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
            splits[split], found = _pairs(place, beside, settings)
            findings += found
        elif place.is_file():
            pairs, found = _pairs(base / "images", base / "masks", settings)
            splits[split], missing = listed(pairs, place)
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
