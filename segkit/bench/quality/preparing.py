"""One form for every tool: RGB or grey PNG images, masks whose values are the classes, 255 ignored.

A training folder holds no test image, and the folder of test images no mask.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from segkit.bench.quality.table import DataSet
from segkit.data.opening.open import open_data
from segkit.data.opening.opened import Data
from segkit.data.options import DataOptions
from segkit.data.settings import read_label_mapping
from segkit.errors import DataError, UsageError
from segkit.interfaces import Sample
from segkit.reporting.pictures import write_mask
from segkit.storage import new_folder, read_json

IGNORED = 255
FACTS = "prepared.json"


@dataclass(frozen=True)
class Prepared:
    """A set as the tools are given it.

    train    images/, masks/ and data.yaml
    images   the test images
    truth    their masks, seen by the scoring alone
    classes  their names
    """

    folder: Path
    classes: tuple[str, ...]
    trained: int
    tested: int

    @property
    def train(self) -> Path:
        return self.folder / "train"

    @property
    def images(self) -> Path:
        return self.folder / "test" / "images"

    @property
    def truth(self) -> Path:
        return self.folder / "truth"


def prepare(root: Path, name: str, wanted: DataSet, folder: Path) -> Prepared:
    """The set in the tools' form, written below `folder` unless an earlier start has.

    Raises DataError SK-D001 where `root` has no such set, and UsageError SK-C009 where its split
    leaves nothing to train on or to test.
    """
    place, asked = folder / name, wanted.model_dump(mode="json")
    facts = read_json(place / FACTS) if (place / FACTS).is_file() else {}
    if facts.get("asked") != asked:
        facts = _write(root / name, name, wanted, asked, place)
    return Prepared(place, tuple(facts["classes"]), facts["train"], facts["test"])


def _write(source: Path, name: str, wanted: DataSet, asked: Any, place: Path) -> dict[str, Any]:
    if not source.is_dir():
        raise DataError(
            "SK-D001",
            f"{source} is not there.",
            f"Leave '{name}' out with --sets, or name the folder that holds it with --data.",
        )
    data = open_data(source, _options(wanted))
    train, test = _samples(data, wanted)
    if not train or not test:
        raise UsageError(
            "SK-C009",
            f"{name}: {len(train)} images would train and {len(test)} be tested.",
            "Correct `test` and `left_out` in the table.",
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(place) as unfinished:
        for part in ("train/images", "train/masks", "test/images", "truth"):
            (unfinished / part).mkdir(parents=True)
        for sample in _each(train):
            _image(sample, unfinished / "train" / "images")
            _mask(sample, data, unfinished / "train" / "masks", None)
        for sample in _each(test):
            _image(sample, unfinished / "test" / "images")
            seen = source / wanted.field_of_view if wanted.field_of_view else None
            _mask(sample, data, unfinished / "truth", seen)
        described = {"path": ".", "names": list(data.classes), "ignore_index": IGNORED}
        (unfinished / "train" / "data.yaml").write_text(yaml.safe_dump(described))
        facts: dict[str, Any] = {"asked": asked, "classes": list(data.classes)}
        facts |= {"train": len(train), "test": len(test)}
        (unfinished / FACTS).write_text(json.dumps(facts))
    return facts


def _options(wanted: DataSet) -> DataOptions:
    given = dict(wanted.options)
    if mapping := given.get("label_mapping"):
        given["label_mapping"] = read_label_mapping(yaml.safe_dump(mapping))
    try:
        return DataOptions(**given)
    except TypeError as error:
        raise UsageError(
            "SK-C008", f"options: {error}.", "They are the fields of segkit's DataOptions."
        ) from error


Place = tuple[Any, int, str]


def _samples(data: Data, wanted: DataSet) -> tuple[list[Place], list[Place]]:
    """(dataset, index, name) of what trains and of what is tested."""
    if wanted.test == "given":
        train, test = list(_named(data, "train")), list(_named(data, "val"))
    else:
        every = [place for split in data.splits for place in _named(data, split)]
        test = [place for place in every if _is_one_of(place[2], wanted.test)]
        train = [place for place in every if not _is_one_of(place[2], wanted.test)]
    return [place for place in train if not _is_one_of(place[2], wanted.left_out)], test


def _named(data: Data, split: str) -> Iterator[Place]:
    dataset = data.datasets.get(split)
    for index in range(len(dataset) if dataset is not None else 0):
        yield dataset, index, Path(dataset.name(index)).stem  # type: ignore[union-attr]


def _each(places: Iterable[Place]) -> Iterator[Sample]:
    for dataset, index, name in places:
        sample = dataset[index]
        yield Sample(sample.image, sample.mask, name)


def _is_one_of(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _image(sample: Sample, folder: Path) -> None:
    pixels_HWC = sample.image
    grey = pixels_HWC.shape[-1] == 1
    if pixels_HWC.dtype != np.uint8 and not (grey and pixels_HWC.dtype == np.uint16):
        raise UsageError(
            "SK-C009",
            f"{sample.id} is {pixels_HWC.dtype} with {pixels_HWC.shape[-1]} channels.",
            "Not every tool reads such images: give 8-bit images, or grey ones of 16 bits.",
        )
    Image.fromarray(pixels_HWC[..., 0] if grey else pixels_HWC[..., :3]).save(
        folder / f"{sample.id}.png"
    )


def _mask(sample: Sample, data: Data, folder: Path, seen: Path | None) -> None:
    assert sample.mask is not None  # a folder's samples have masks
    label_HW: NDArray[np.int64] = np.array(sample.mask)
    if data.ignore_index is not None:
        label_HW[label_HW == data.ignore_index] = IGNORED
    if seen is not None:
        with Image.open(seen / f"{sample.id}.png") as inside:
            label_HW[np.asarray(inside.convert("L")) == 0] = IGNORED
    write_mask(folder / f"{sample.id}.png", label_HW, data.palette, IGNORED)
