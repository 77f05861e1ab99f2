"""Annotations that are no masks yet: COCO's JSON and YOLO's polygons, drawn image by image.

Label 0 is background, the classes follow in their own order. Where objects overlap, the smaller one
is drawn on top.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from segkit.data.files.facts import look_at_image
from segkit.data.files.pairing import list_files
from segkit.data.layouts.drawings import (
    BACKGROUND,
    MOST_CLASSES,
    Area,
    Drawing,
    Drawings,
    drawn,
    naming,
    polygons,
    refuse_many,
)
from segkit.data.layouts.label_studio import label_studio
from segkit.data.layouts.labelme import labelme
from segkit.data.layouts.layout import SPLITS
from segkit.data.layouts.named_images import NamedImages
from segkit.data.layouts.shapes import from_run_lengths
from segkit.data.settings import DataSettings, find_settings
from segkit.errors import DataError
from segkit.storage import read_json


def read_annotations(source: Path, declare: str | None = None) -> Drawings | None:
    """The annotations of a folder (or of one COCO file), or None where it holds none we know.

    declare   what is said over the folder's data.yaml, such as "names: [car, tree]"
    """
    try:
        coco = _coco_files(source)
        if coco:
            return _coco(coco, _folder_of(source))
        if source.is_file():
            return None
        if _yolo_images(source):
            return _yolo(source, declare)
        return label_studio(source, declare) or labelme(source, declare)
    # A file of the right name that holds something else at some depth.
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(
            "SK-D009",
            f"the annotations of {source} are not as their tool writes them "
            f"({type(error).__name__}: {error}).",
            "Export them again.",
        ) from error


def annotation_kind(source: Path) -> str | None:
    """Whose annotations a folder or a file holds that are no masks yet; None where it holds none.

    They may be faulty: `read_annotations` says so.
    """
    if _coco_files(source):
        return "COCO"
    if source.is_file():
        return None
    if _yolo_images(source):
        return "YOLO"
    try:
        drawings = read_annotations(source)
    except DataError:
        return "Label Studio or LabelMe"
    return drawings.kind if drawings is not None else None


def _coco_files(source: Path) -> dict[str, Path]:
    """The JSON files of objects by split: in annotations/, beside the images, or at the top."""
    if source.is_file():
        return {"all": source} if source.suffix == ".json" else {}
    for pattern in ("annotations/instances*.json", "annotations/*.json", "*/_annotations*.json"):
        files = sorted(source.glob(pattern))
        if files and (pattern != "annotations/*.json" or any(map(_is_coco, files))):
            return {_split_of(file): file for file in files}
    return {_split_of(file): file for file in sorted(source.glob("*.json")) if _is_coco(file)}


def _folder_of(source: Path) -> Path:
    """The data set's folder."""
    if source.is_dir():
        return source
    return source.parent.parent if source.parent.name == "annotations" else source.parent


def _is_coco(file: Path) -> bool:
    try:
        content = read_json(file)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()


def _split_of(file: Path) -> str:
    """train for instances_train2017.json or train/_annotations.coco.json."""
    words = f"{file.parent.name} {file.stem}".lower()
    if "valid" in words:
        return "val"
    return next((split for split in SPLITS if split in words), "all")


def _coco(files: Mapping[str, Path], folder: Path) -> Drawings:
    images = NamedImages(folder)
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
            _coco_drawing(files[split], image, objects.get(image["id"], []), label_of, images)
            for image in content["images"]
        )
    names = tuple(categories[id] for id in sorted(categories))
    return Drawings("COCO", (BACKGROUND, *names), splits)


def _coco_content(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
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
    file: Path,
    image: dict[str, Any],
    objects: Sequence[dict[str, Any]],
    label_of: dict[int, int],
    images: NamedImages,
) -> Drawing:
    name = str(image["file_name"])
    path = images.find(name, file, file.stem.removeprefix("instances_"))

    def draw(height: int, width: int) -> np.ndarray:
        try:
            return drawn([_coco_area(o, label_of, height, width) for o in objects], height, width)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                "SK-D009",
                f"{file} holds an object of {name} that cannot be drawn ({error}).",
                "Export the annotations again.",
            ) from error

    parts = PurePosixPath(name.replace("\\", "/"))
    below = [part for part in parts.with_suffix("").parts if part not in ("..", parts.anchor)]
    return Drawing("/".join(below), path, draw)


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


def _yolo_images(source: Path) -> dict[Path, Path]:
    """Images below folders called images/, with the files of labels that their labels/ may hold.

    Both images/train with labels/train and train/images with train/labels.
    """
    found: dict[Path, Path] = {}
    if not source.is_dir():
        return found
    for folder in sorted({source / "images", *source.glob("*/images")}):
        labels = folder.with_name("labels")
        if folder.is_dir() and any(labels.rglob("*.txt")):
            for id, files in list_files(folder).items():
                found[files[0]] = labels / f"{id}.txt"
    return found


def _yolo(source: Path, declare: str | None) -> Drawings:
    """images/ and labels/, alike but for the suffix; a line is `class x1 y1 x2 y2 …`, 0 to 1."""
    settings = find_settings(source, declare)
    names = settings.names
    refuse_many(len(names), source, settings.to_write)
    splits: dict[str, list[Drawing]] = {}
    for image, labels in _yolo_images(source).items():
        parts = list(image.relative_to(source).with_suffix("").parts)
        parts.remove("images")
        split = {"valid": "val"}.get(parts[0], parts[0]) if len(parts) > 1 else "all"
        if split in SPLITS:
            del parts[0]
        drawing = _yolo_drawing("/".join(parts), image, labels, settings)
        splits.setdefault(split if split in SPLITS else "all", []).append(drawing)
    drawings = {split: tuple(each) for split, each in splits.items()}
    return Drawings("YOLO", (BACKGROUND, *names), drawings)


def _yolo_drawing(id: str, image: Path, file: Path, settings: DataSettings) -> Drawing:
    def draw(height: int, width: int) -> np.ndarray:
        areas = []
        # An image without a file of labels shows background alone.
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        for number, line in enumerate(lines, 1):
            if line.strip():
                areas.append(_yolo_area(file, number, line, settings, height, width))
        return drawn(areas, height, width)

    return Drawing(id, image, draw)


def _yolo_area(
    file: Path, number: int, line: str, settings: DataSettings, height: int, width: int
) -> Area:
    fix = "A line is: class x1 y1 x2 y2 x3 y3 …, with at least three corners from 0 to 1."
    try:
        label, *shares = [float(word) for word in line.split()]
    except ValueError as error:
        raise DataError("SK-D009", f"{file}:{number} holds no numbers ({error}).", fix) from error
    if len(shares) < 6 or len(shares) % 2:
        what = f"{file}:{number} holds {len(shares)} coordinates: a box, or half a corner."
        raise DataError("SK-D009", what, fix)
    names = settings.names
    if not 0 <= label < len(names):
        what = f"{file}:{number} says class {label:g}, and {len(names)} are named (from 0)."
        more = [f"class {k}" for k in range(len(names), min(int(label), MOST_CLASSES) + 1)]
        fix = f"If it is one, name them all: {naming((*names, *more), settings.to_write)}."
        raise DataError("SK-D012", what, fix)
    corners = np.asarray(shares).reshape(-1, 2) * (width, height)
    return polygons(int(label) + 1, [corners.ravel().tolist()])


def size_of(image: Path) -> tuple[int, int]:
    """(height, width) of an image as its annotations see it: as stored."""
    facts = look_at_image(image)
    return facts.height, facts.width
