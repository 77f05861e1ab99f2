"""A data set by name: what a plugin reads from its folder, as the data that trainings take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from segkit.data.files.images import fit_channels
from segkit.data.files.masks import RGB
from segkit.data.files.pixels import white_of
from segkit.data.opening import ALL, Data
from segkit.errors import DataError, UsageError
from segkit.interfaces import Dataset, Sample
from segkit.registry import Component, Registry, default_registry

SPLITS = ("train", "val", "test")
LOOKED_AT = 8


class Fitted:
    """A plugin's split with every image in so many channels."""

    def __init__(self, dataset: Dataset, channels: int) -> None:
        self.dataset, self.channels = dataset, channels
        self.classes: Sequence[str] = dataset.classes
        self.palette: Sequence[RGB] = dataset.palette
        self.ignore_index: int | None = dataset.ignore_index

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        return replace(sample, image=fit_channels(sample.image, self.channels, sample.id))


class Joined:
    """Several splits one after the other."""

    def __init__(self, parts: Sequence[Dataset]) -> None:
        self.parts = tuple(parts)
        self.classes: Sequence[str] = parts[0].classes
        self.palette: Sequence[RGB] = parts[0].palette
        self.ignore_index: int | None = parts[0].ignore_index

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __getitem__(self, index: int) -> Sample:
        for part in self.parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError(f"there are {len(self)} samples")


def open_named(
    written: str,
    root: Path | None,
    *,
    in_channels: int | None = None,
    num_classes: int | None = None,
    registry: Registry | None = None,
) -> Data:
    """The data set of a plugin, such as "voc2012" or "oxford-iiit-pet(task=breeds)", in a folder.

    in_channels   channels wanted; None: 1 where all of a few images are grey, else 3
    num_classes   to check that it has so many

    Channels and depth are judged by eight training images. Raises UsageError (name, option, or
    SK-C009 without a folder or with other classes) and the plugin's own errors.
    """
    component = (registry or default_registry()).component("datasets", written)
    if root is None:
        raise UsageError(
            "SK-C009",
            f"--dataset {written} needs the folder where it lies.",
            f"Give it with --data; `segkit data download {component.name}` fetches it or says "
            "where it is to be had.",
        )
    datasets, absent = _splits(component, root)
    train = datasets["train"]
    if num_classes is not None and num_classes != len(train.classes):
        raise UsageError(
            "SK-C009",
            f"the model tells {num_classes} classes apart, and {written} has {len(train.classes)}.",
            "Name the data set it was trained on, with the same options.",
        )
    looked_at = _some_of(train)
    channels = in_channels or _channels(looked_at)
    fitted: dict[str, Dataset] = {name: Fitted(each, channels) for name, each in datasets.items()}
    sizes = ", ".join(f"{len(each)} {name}" for name, each in datasets.items())
    return Data(
        classes=tuple(train.classes),
        palette=tuple(train.palette),
        ignore_index=train.ignore_index,
        in_channels=channels,
        full_scale=_full_scale(looked_at),
        splits=tuple(fitted),
        notes=(f"{written} in {root}: {sizes}.", *_terms(component), *absent),
        default_size=_default_size(looked_at),
        datasets=fitted | {ALL: Joined([fitted[name] for name in SPLITS if name in fitted])},
    )


def _splits(component: Component, root: Path) -> tuple[dict[str, Dataset], list[str]]:
    """The splits that are there, train among them, and a sentence for each that is not."""
    datasets: dict[str, Dataset] = {"train": component.build(root=root, split="train")}
    absent = []
    for split in getattr(component.factory, "splits", SPLITS):
        if split in datasets:
            continue
        try:
            datasets[split] = component.build(root=root, split=split)
        except DataError as error:
            absent.append(f"No split {split}: {error.what}")
    return datasets, absent


def _some_of(dataset: Dataset) -> list[Sample]:
    """A few samples, spread evenly."""
    places = np.linspace(0, len(dataset) - 1, min(LOOKED_AT, len(dataset))).round().astype(int)
    return [dataset[int(place)] for place in places]


def _channels(samples: Sequence[Sample]) -> int:
    have = {sample.image.shape[2] for sample in samples}
    if max(have) > 4:
        return max(have)
    return 1 if have <= {1, 2} else 3


def _full_scale(samples: Sequence[Sample]) -> float:
    """White; raises DataError SK-D011 where the images differ in depth."""
    depths = {str(sample.image.dtype) for sample in samples}
    if len(depths) > 1:
        raise DataError(
            "SK-D011", f"the images differ in depth: {', '.join(sorted(depths))}.", "Convert them."
        )
    (depth,) = depths
    if depth == "uint8":
        return 255.0
    return white_of(max(float(sample.image.max()) for sample in samples), depth)


def _default_size(samples: Sequence[Sample]) -> int:
    """The median image's shorter side, rounded down to a multiple of 32, from 32 to 512."""
    side = int(np.median([min(sample.image.shape[:2]) for sample in samples]))
    return min(512, max(32, side // 32 * 32))


def _terms(component: Component) -> tuple[str, ...]:
    published = getattr(component.factory, "published", None)
    if published is None:
        return ()
    return (f"Licence: {published.licence}. Please cite: {published.citation}.",)
