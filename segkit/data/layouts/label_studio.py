"""Label Studio's brush export: a PNG per label and image, to be merged.

Files are called task-1-annotation-2-by-3-tag-Car-0.png. Which image a task is, the tasks' JSON file
says that Label Studio exports too; without it, images must be called task-1.jpg or 1.jpg.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segkit.data.files.masks import read_values
from segkit.data.files.pairing import list_files
from segkit.data.layouts.drawings import (
    BACKGROUND,
    Area,
    Drawing,
    Drawings,
    drawn,
    refuse_many,
    unnamed,
)
from segkit.data.settings import find_settings
from segkit.errors import DataError
from segkit.storage import read_json

BRUSH = re.compile(r"task-(\d+)-annotation-(\d+)-by-(.+?)-([A-Za-z0-9_]+)-(.+)-\d+")
# Brushes are soft at their rims.
PAINTED = 128


def label_studio(source: Path, declare: str | None = None) -> Drawings | None:
    """The painted images below a folder; None where there are none.

    Classes are the `names` of a data.yaml, else all labels by alphabet.
    """
    painted: dict[int, dict[int, list[tuple[str, Path]]]] = {}
    others: list[Path] = []
    for id, files in list_files(source).items():
        found = BRUSH.fullmatch(id.rpartition("/")[2])
        if found is None:
            others += files
            continue
        task, annotation, label = int(found[1]), int(found[2]), found[5]
        painted.setdefault(task, {}).setdefault(annotation, []).append((label, files[0]))
    if not painted:
        return None
    settings = find_settings(source, declare)
    declared = tuple(n for n in settings.names if n != BACKGROUND)
    used = {label for each in painted.values() for layers in each.values() for label, _ in layers}
    names = declared or tuple(sorted(used))
    refuse_many(len(names), source, settings.to_write)
    unknown = sorted(used - set(names))
    if unknown:
        raise unnamed(f"{source} holds brushes of", unknown[0], names, settings.to_write)
    images = _images(source, others)
    drawings = [
        _drawing(source, task, _only(source, task, each), images, names)
        for task, each in sorted(painted.items())
    ]
    return Drawings("Label Studio brush", (BACKGROUND, *names), {"all": tuple(drawings)})


def _only(
    source: Path, task: int, annotations: dict[int, list[tuple[str, Path]]]
) -> list[tuple[str, Path]]:
    if len(annotations) > 1:
        raise DataError(
            "SK-D002",
            f"task {task} in {source} was annotated {len(annotations)} times "
            f"({', '.join(str(number) for number in sorted(annotations))}).",
            "Keep the files of one annotation of each task: segkit does not guess which is right.",
        )
    (layers,) = annotations.values()
    return layers


def _images(source: Path, files: Sequence[Path]) -> dict[int, Path]:
    """The image of each task: by the tasks' JSON files, else by its own name."""
    by_name = {path.name: path for path in files}
    found: dict[int, Path] = {}
    for path in files:
        number = re.fullmatch(r"(?:task-)?(\d+)", path.stem)
        if number:
            found[int(number[1])] = path
    for file in sorted(source.glob("*.json")):
        for task in _tasks(file):
            # Uploads are called 1a2b3c4d-name.jpg, and the file at hand perhaps only name.jpg.
            name = _image_name(task)
            short = re.sub(r"^[0-9a-f]{8}-", "", name)
            if name in by_name or short in by_name:
                found[int(task["id"])] = by_name.get(name) or by_name[short]
    return found


def _tasks(file: Path) -> list[dict[str, Any]]:
    try:
        content = read_json(file)
    except (OSError, ValueError) as error:
        raise DataError("SK-D009", f"{file} is no JSON ({error}).", "Export it again.") from error
    tasks = content if isinstance(content, list) else []
    return [task for task in tasks if isinstance(task, dict) and "id" in task]


def _image_name(task: dict[str, Any]) -> str:
    """The last part of the path under `data`, whatever key a project gives it."""
    data = task.get("data")
    texts = [text for text in data.values() if isinstance(text, str)] if data else [""]
    paths = [text for text in texts if re.search(r"\.\w{3,4}$", text)] or [""]
    return paths[0].rpartition("/")[2]


def _drawing(
    source: Path,
    task: int,
    layers: Sequence[tuple[str, Path]],
    images: dict[int, Path],
    names: Sequence[str],
) -> Drawing:
    if task not in images:
        raise DataError(
            "SK-D002",
            f"no image below {source} belongs to task {task}, such as {layers[0][1].name}.",
            f"Put the images and the tasks' JSON file beside the brushes, or call the image "
            f"task-{task}.jpg.",
        )
    image = images[task]

    def draw(height: int, width: int) -> np.ndarray:
        areas = [_area(file, names.index(label) + 1, height, width) for label, file in layers]
        return drawn(areas, height, width)

    return Drawing(image.stem, image, draw)


def _area(file: Path, label: int, height: int, width: int) -> Area:
    inside_HW = read_values(file) >= PAINTED
    if inside_HW.shape != (height, width):
        raise DataError(
            "SK-D003",
            f"{file} is {inside_HW.shape[0]} x {inside_HW.shape[1]}, its image {height} x {width} "
            "(height x width).",
            "Export the brushes again, or use the images that were uploaded.",
        )

    def paint(mask_HW: np.ndarray) -> None:
        mask_HW[inside_HW] = label

    return Area(label, float(inside_HW.sum()), paint)
