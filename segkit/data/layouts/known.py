"""Layouts of others: PASCAL VOC and CVAT, nnU-Net, Cell Tracking Challenge, Cityscapes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from segkit.data.files.masks import RGB
from segkit.data.files.pairing import Pair, list_files
from segkit.data.layouts.layout import Declared, Draw, FindLayout, Layout, split_by_lists
from segkit.data.settings import DataSettings
from segkit.errors import DataError
from segkit.storage import read_json


def voc(base: Path, settings: DataSettings, draw: Draw) -> Layout | None:
    """JPEGImages/ and SegmentationClass/, lists in ImageSets/Segmentation; CVAT adds labelmap.txt.

    Only images that have a mask are taken: in VOC most have none.
    """
    if not (base / "SegmentationClass").is_dir():
        return None
    masks = list_files(base / "SegmentationClass")
    images = list_files(base / "JPEGImages") if (base / "JPEGImages").is_dir() else {}
    pairs = tuple(Pair(id, images[id][0], masks[id][0]) for id in masks if id in images)
    labels = base / "labelmap.txt"
    declared = read_labelmap(labels) if labels.is_file() else None
    left = len(images) - len(pairs)
    note = "Layout: PASCAL VOC" + (", labels from labelmap.txt" if declared else "")
    note += f", {left} images without a mask left out" if left else ""
    lists = base / "ImageSets" / "Segmentation"
    by_list = split_by_lists(pairs, lists, note, declared=declared)
    return by_list or draw.layout(pairs, note + ".", declared=declared)


def read_labelmap(file: Path) -> Declared:
    """CVAT's labelmap.txt, a line a class: name:red,green,blue:parts:actions."""
    palette: dict[str, RGB] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, rest = line.partition(":")
        parts = rest.split(":")[0].split(",")
        if len(parts) != 3 or not all(p.strip().isdigit() and int(p) < 256 for p in parts):
            raise DataError(
                "SK-D009",
                f"{file}:{number} is no class: {line.strip()}.",
                "A line is name:red,green,blue::",
            )
        red, green, blue = (int(part) for part in parts)
        palette[name.strip()] = (red, green, blue)
    return Declared(tuple(palette), palette)


def nnunet(base: Path, settings: DataSettings, draw: Draw) -> Layout | None:
    """imagesTr/ and labelsTr/ with dataset.json, for flat images: x_0000.png belongs to x.png.

    x_0001.png and so on are further channels of the same image.
    """
    if not (base / "imagesTr").is_dir() or not (base / "labelsTr").is_dir():
        return None
    images, masks = list_files(base / "imagesTr"), list_files(base / "labelsTr")
    cases: dict[str, list[Path]] = {}
    for id, files in images.items():
        cases.setdefault(re.sub(r"_\d{4}$", "", id), []).append(files[0])
    pairs = tuple(
        Pair(case, files[0], masks[case][0], tuple(files[1:]))
        for case, files in cases.items()
        if case in masks
    )
    _refuse_uneven(pairs)
    about = base / "dataset.json"
    declared = _nnunet_labels(about) if about.is_file() else None
    return draw.layout(pairs, "Layout: nnU-Net.", declared=declared)


def _refuse_uneven(pairs: Sequence[Pair]) -> None:
    """Raises DataError SK-D002 where a case has not the channels that the others have."""
    numbers = {p.id: [path.stem[-4:] for path in p.images] for p in pairs if p.more}
    if not numbers:
        return
    most = max(numbers.values(), key=len)
    for pair in pairs:
        if numbers.get(pair.id) != most:
            have = ", ".join(numbers.get(pair.id, [pair.image.stem[-4:]]))
            raise DataError(
                "SK-D002",
                f"{pair.image.parent} holds channels {have} of {pair.id}, and {', '.join(most)} of "
                "others.",
                "Complete it, or take the image and its label out.",
            )


def _nnunet_labels(file: Path) -> Declared:
    """Names and ignored label of dataset.json: {"name": 1} or, as of old, {"1": "name"}."""
    try:
        labels = read_json(file)["labels"]
        pairs = [(k, v) if isinstance(v, int) else (v, int(k)) for k, v in labels.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            "SK-D009",
            f"{file} names no labels that segkit reads ({error}).",
            'It says "labels": {"background": 0, …}.',
        ) from error
    ignored = [label for name, label in pairs if name == "ignore"]
    named = sorted((label, name) for name, label in pairs if name != "ignore")
    return Declared(tuple(name for _, name in named), None, ignored[0] if ignored else None)


def cell_tracking(base: Path, settings: DataSettings, draw: Draw) -> Layout | None:
    """01/t000.tif with 01_GT/SEG/man_seg000.tif, and 02 alike; frames without a mask left out."""
    pairs = []
    frames = 0
    for sequence in sorted(p for p in base.iterdir() if re.fullmatch(r"\d\d", p.name)):
        masks = base / f"{sequence.name}_GT" / "SEG"
        if not masks.is_dir():
            continue
        frame_of = {number_of(id): files[0] for id, files in list_files(sequence).items()}
        frames += len(frame_of)
        for id, files in list_files(masks).items():
            if number_of(id) in frame_of:
                name = f"{sequence.name}/{number_of(id)}"
                pairs.append(Pair(name, frame_of[number_of(id)], files[0]))
    if not pairs:
        return None
    left = frames - len(pairs)
    note = f"Layout: Cell Tracking Challenge, {left} frames without a mask left out."
    return draw.layout(pairs, note)


def number_of(id: str) -> str:
    """The digits at the end of a name: t031 and man_seg031 are one frame."""
    found = re.search(r"\d+$", id)
    return found.group() if found else id


def cityscapes(base: Path, settings: DataSettings, draw: Draw) -> Layout | None:
    """leftImg8bit/{train,val}/CITY/ and gtFine/ alike; labelTrainIds before labelIds."""
    if not (base / "leftImg8bit").is_dir() or not (base / "gtFine").is_dir():
        return None
    for kind in ("labelTrainIds", "labelIds"):
        splits = {}
        for split in ("train", "val"):
            images = list_files(base / "leftImg8bit" / split)
            masks = list_files(base / "gtFine" / split)
            names = {id: id.removesuffix("_leftImg8bit") for id in images}
            splits[split] = tuple(
                Pair(name, images[id][0], masks[f"{name}_gtFine_{kind}"][0])
                for id, name in names.items()
                if f"{name}_gtFine_{kind}" in masks
            )
        if all(splits.values()):
            return Layout(splits, (f"Layout: Cityscapes, masks of {kind}.",))
    return None


KNOWN: tuple[FindLayout, ...] = (voc, nnunet, cell_tracking, cityscapes)
