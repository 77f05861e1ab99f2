"""What the data sets share: pairs of files by split, values to labels, errors that name a file."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from segkit.api import (
    DataError,
    PublishedData,
    Sample,
    UsageError,
    read_image,
    read_values,
)

RGB = tuple[int, int, int]
IGNORED = 255


class Pair(NamedTuple):
    """An image and its mask; `id` is unique within a split."""

    id: str
    image: Path
    mask: Path


class FileDataset(ABC):
    """One split of a data set whose images and masks are files; nothing is read before it is asked.

    name       what it is called by
    splits     the splits it takes
    table      {stored value: label}
    published  where it comes from and on what terms
    """

    name: ClassVar[str]
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")
    published: ClassVar[PublishedData]
    table: ClassVar[Mapping[int, int]] = {}
    classes: Sequence[str]
    palette: Sequence[RGB]
    ignore_index: int | None = None

    def __init__(self, root: Path, split: str) -> None:
        if split not in self.splits:
            raise UsageError(
                "SK-D010",
                f"{self.name} has no split '{split}'.",
                f"It has {', '.join(self.splits)}.",
            )
        self.root, self.split = Path(root), split
        self.pairs = tuple(self.find_pairs())
        if not self.pairs:
            raise self.absent(self.root)

    @abstractmethod
    def find_pairs(self) -> Sequence[Pair]:
        """The pairs of self.split below self.root; raises `self.absent` for what is not there."""

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        image_HWC = self.read_image(pair)
        mask_HW, instances_HW = self.read_mask(pair)
        if mask_HW.shape != image_HWC.shape[:2]:
            raise DataError(
                "SK-D003",
                f"{pair.mask} is {mask_HW.shape[0]} x {mask_HW.shape[1]}, its image "
                f"{image_HWC.shape[0]} x {image_HWC.shape[1]} pixels (height x width).",
                "Unpack the data set again.",
            )
        return Sample(image_HWC, mask_HW, pair.id, instances_HW)

    def read_image(self, pair: Pair) -> np.ndarray:
        """(H, W, C) as stored: these masks were drawn on pixels that no EXIF tag had turned."""
        return read_image(pair.image, upright=False)

    def read_mask(self, pair: Pair) -> tuple[np.ndarray, np.ndarray | None]:
        """Labels (H, W) int64, and object numbers alike or None."""
        return labelled(read_values(pair.mask), self.table, pair.mask), None

    def folder(self, *places: str) -> Path:
        """The first of these places that is a folder, below the root ("" is the root itself)."""
        for place in places:
            if (self.root / place).is_dir():
                return self.root / place
        raise self.absent(self.root / places[0])

    def absent(self, path: Path) -> DataError:
        """The error for something that is not there, which tells how to get the data."""
        get = (
            f"`segkit data download {self.name}` fetches it."
            if self.published.archives
            else self.published.by_hand
        )
        return DataError("SK-D001", f"{self.name}: there are no such files as {path}.", get)


def labelled(values_HW: np.ndarray, table: Mapping[int, int], file: Path) -> np.ndarray:
    """(H, W) int64 labels; raises DataError SK-D012 for a value the table does not have."""
    highest = max(table)
    label_of_value = np.full(highest + 2, -1, np.int64)
    label_of_value[list(table)] = list(table.values())
    # The place beyond the highest stands for every stray value; -1 is another name for it.
    labels_HW = label_of_value[np.clip(values_HW.astype(np.int64), -1, highest + 1)]
    if (labels_HW < 0).any():
        stray = int(values_HW[labels_HW < 0][0])
        raise DataError(
            "SK-D012",
            f"{file} holds the value {stray}, which this data set does not have.",
            "Unpack the data set again: this mask was changed.",
        )
    return labels_HW


def images_in(folder: Path, *suffixes: str) -> dict[str, Path]:
    """Files by name without suffix, in order; files that start with a dot are left out."""
    return {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    }


def names_in(file: Path) -> list[list[str]]:
    """The words of each line that is neither empty nor a comment."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]


def drawn(ids: Sequence[str], **shares: float) -> dict[str, list[str]]:
    """Ids dealt to splits by their SHA-256, the same on every machine; the rest is "train".

    shares   part of all, 0 to 1, by split; each gets one at least
    """
    order = sorted(ids, key=lambda id: hashlib.sha256(id.encode()).hexdigest())
    dealt: dict[str, list[str]] = {}
    for split, share in shares.items():
        count = max(1, round(share * len(ids)))
        dealt[split], order = sorted(order[:count]), order[count:]
    return {"train": sorted(order), **dealt}
