"""Annotations that are no masks yet: COCO's JSON and YOLO's polygons, drawn image by image.

Label 0 is background, the classes follow in their own order. Where objects overlap, the smaller one
is drawn on top.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segkit.data.files.facts import look_at_image
from segkit.data.files.pairing import list_files
from segkit.data.layouts.drawings import (
    BACKGROUND,
    Area,
    Drawing,
    Drawings,
    drawn,
    polygons,
    refuse_many,
)
from segkit.data.layouts.label_studio import label_studio
from segkit.data.layouts.labelme import labelme
from segkit.data.layouts.layout import SPLITS
from segkit.data.layouts.shapes import from_run_lengths
from segkit.data.settings import find_settings
from segkit.errors import DataError


def read_annotations(source: Path) -> Drawings | None:
    """The annotations of a folder (or of one COCO file), or None where it holds none we know."""
    if source.is_file():
        return _coco({"all": source}) if source.suffix == ".json" else None
    files = sorted(source.glob("annotations/*.json")) + sorted(source.glob("*/_annotations*.json"))
    if files:
        return _coco({_split_of(file): file for file in files})
    if (source / "labels").is_dir() and (source / "images").is_dir():
        return _yolo(source)
    return label_studio(source) or labelme(source)


def _split_of(file: Path) -> str:
    """train for instances_train2017.json or train/_annotations.coco.json."""
    words = f"{file.parent.name} {file.stem}".lower()
    if "valid" in words:
        return "val"
    return next((split for split in SPLITS if split in words), "all")


def _coco(files: Mapping[str, Path]) -> Drawings:
    contents = {split: _coco_content(file) for split, file in files.items()}
    categories: dict[int, str] = {}
    for content in contents.values():
        categories |= {int(c["id"]): str(c["name"]) for c in content["categories"]}
    refuse_many(len(categories), next(iter(files.values())))
    label_of = {id: label for label, id in enumerate(sorted(categories), 1)}
    splits = {}
    for split, content in contents.items():
        objects: dict[int, list[dict[str, Any]]] = {}
        for annotation in content["annotations"]:
            objects.setdefault(annotation["image_id"], []).append(annotation)
        splits[split] = tuple(
            _coco_drawing(files[split], image, objects.get(image["id"], []), label_of)
            for image in content["images"]
        )
    names = tuple(categories[id] for id in sorted(categories))
    return Drawings("COCO", (BACKGROUND, *names), splits)


def _coco_content(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        missing = [key for key in ("images", "annotations", "categories") if key not in content]
    except (ValueError, TypeError) as error:
        raise DataError("SK-D009", f"{file} is no JSON ({error}).", "Export it again.") from error
    if missing:
        raise DataError(
            "SK-D009",
            f"{file} has no {' and no '.join(missing)}: it is no COCO file of objects.",
            "Give the file of instances (instances_train2017.json, _annotations.coco.json).",
        )
    return dict(content)


def _coco_drawing(
    file: Path, image: dict[str, Any], objects: Sequence[dict[str, Any]], label_of: dict[int, int]
) -> Drawing:
    name = Path(image["file_name"])
    path = _coco_image(file, name)

    def draw(height: int, width: int) -> np.ndarray:
        try:
            return drawn([_coco_area(o, label_of, height, width) for o in objects], height, width)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                "SK-D009",
                f"{file} holds an object of {name} that cannot be drawn ({error}).",
                "Export the annotations again.",
            ) from error

    return Drawing(name.with_suffix("").as_posix(), path, draw)


def _coco_image(file: Path, name: Path) -> Path:
    """The image beside the JSON file, or in the folder that COCO itself would put it."""
    split = file.stem.removeprefix("instances_")
    base = file.parent
    if name.is_absolute() or ".." in name.parts:
        raise DataError(
            "SK-D002",
            f"{file} names {name}, which leads out of the data set.",
            "Export the annotations with plain file names.",
        )
    places = [base / name, base.parent / split / name, base.parent / "images" / name]
    places += [base.parent / "images" / split / name, base.parent / name]
    for place in places:
        if place.is_file():
            return place
    raise DataError(
        "SK-D002",
        f"{file} names {name}, which is not below {base.parent}.",
        f"Put the images beside the file, or into {base.parent / split}.",
    )


def _coco_area(
    annotation: dict[str, Any], label_of: dict[int, int], height: int, width: int
) -> Area:
    label = label_of[annotation["category_id"]]
    shape = annotation["segmentation"]
    if isinstance(shape, dict):
        inside_HW = from_run_lengths(shape["counts"], *shape["size"])
        if inside_HW.shape != (height, width):
            raise ValueError(f"a mask of {shape['size']} on an image of {[height, width]}")

        def paint(mask_HW: np.ndarray) -> None:
            mask_HW[inside_HW] = label

        return Area(label, float(inside_HW.sum()), paint)
    return polygons(label, shape)


def _yolo(source: Path) -> Drawings:
    """images/ and labels/, alike but for the suffix; a line is `class x1 y1 x2 y2 …`, 0 to 1."""
    names = find_settings(source).names
    refuse_many(len(names), source)
    present = [split for split in SPLITS if (source / "images" / split).is_dir()]
    splits = {}
    for split in present or ["all"]:
        part = split if present else ""
        images = list_files(source / "images" / part)
        splits[split] = tuple(
            _yolo_drawing(id, files[0], source / "labels" / part / f"{id}.txt", names)
            for id, files in images.items()
        )
    return Drawings("YOLO", (BACKGROUND, *names), splits)


def _yolo_drawing(id: str, image: Path, file: Path, names: Sequence[str]) -> Drawing:
    def draw(height: int, width: int) -> np.ndarray:
        areas = []
        # An image without a file of labels shows background alone.
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        for number, line in enumerate(lines, 1):
            if line.strip():
                areas.append(_yolo_area(file, number, line, names, height, width))
        return drawn(areas, height, width)

    return Drawing(id, image, draw)


def _yolo_area(
    file: Path, number: int, line: str, names: Sequence[str], height: int, width: int
) -> Area:
    fix = "A line is: class x1 y1 x2 y2 x3 y3 …, with at least three corners from 0 to 1."
    try:
        label, *shares = [float(word) for word in line.split()]
    except ValueError as error:
        raise DataError("SK-D009", f"{file}:{number} holds no numbers ({error}).", fix) from error
    if len(shares) < 6 or len(shares) % 2:
        what = f"{file}:{number} holds {len(shares)} coordinates: a box, or half a corner."
        raise DataError("SK-D009", what, fix)
    if not 0 <= label < len(names):
        what = f"{file}:{number} says class {label:g}, and data.yaml names {len(names)}."
        raise DataError("SK-D012", what, "List all classes as `names` in data.yaml.")
    corners = np.asarray(shares).reshape(-1, 2) * (width, height)
    return polygons(int(label) + 1, [corners.ravel().tolist()])


def size_of(image: Path) -> tuple[int, int]:
    """(height, width) of an image as its annotations see it: as stored."""
    facts = look_at_image(image)
    return facts.height, facts.width
