"""The true classes of a tile's pixels: what is read, added up and written at them.

Where classes are many, by their numbers. Where they are few, by masks of 0 and 1, a row a class:
sums per class are then products of a matrix and a vector, and nothing is looked up pixel by pixel.
The other way takes 1.45 times as long with two classes, 1.1 with six, and as long with eight.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

# Beyond, masks cost more than numbers.
MOST_MASKS = 6
# Labels below are counted as bytes, twice as fast as wide ones.
BYTE = 256


class Truth(Protocol):
    """The labels of one tile of N pixels and K classes.

    valid_N  1, and 0 where a pixel is ignored; None where none is
    """

    valid_N: Tensor | None

    @property
    def stray(self) -> int:
        """Pixels whose label is neither a class nor the ignored one; each is taken as any class."""

    def at(self, map_KN: Tensor) -> Tensor:
        """The value at each pixel's true class; anything where ignored."""

    def each(self, value_K: Tensor) -> Tensor:
        """The value of each pixel's true class; anything where ignored."""

    def sums(self, value_N: Tensor | None = None) -> Tensor:
        """Per class, float64: the sum of value_N over its pixels, or how many these are."""

    def add(self, map_KN: Tensor, value_N: Tensor) -> None:
        """Adds value_N to map_KN at each pixel's true class; value_N is 0 where ignored."""


def truth_of(label_N: Tensor, classes: int, ignore_index: int | None, dtype: torch.dtype) -> Truth:
    """dtype: of the maps and values."""
    if classes <= MOST_MASKS:
        return Masks(label_N, classes, ignore_index, dtype)
    return Numbers(label_N, classes, ignore_index, dtype)


class Numbers:
    """Truth by class numbers, looked up in maps that lie in one piece."""

    def __init__(
        self, label_N: Tensor, classes: int, ignore_index: int | None, dtype: torch.dtype
    ) -> None:
        self.classes, self.valid_N = classes, None
        low, high = _range(label_N)
        if low < 0 or high >= max(classes, BYTE):
            label_N, ignore_index = _narrow(label_N, classes, ignore_index)
            low, high = _range(label_N)
        self.label_N = label_N.to(torch.uint8) if high < BYTE else label_N
        self.ignore_index = None
        if ignore_index is not None and low <= ignore_index <= high:
            self.ignore_index = ignore_index
            self.valid_N = torch.ne(
                self.label_N, ignore_index, out=torch.empty(len(label_N), dtype=dtype)
            )
        self.class_N = label_N.long()
        if high >= classes:
            self.class_N = self.class_N.clamp(max=classes - 1)
        pixels = len(label_N)
        self.place_N = torch.add(torch.arange(pixels), self.class_N, alpha=pixels)

    @cached_property
    def counts(self) -> Tensor:
        return torch.bincount(self.label_N, minlength=self.classes)

    @property
    def stray(self) -> int:
        others = int(self.counts[self.classes :].sum())
        if self.ignore_index is not None and self.ignore_index >= self.classes:
            others -= int(self.counts[self.ignore_index])
        return others

    def at(self, map_KN: Tensor) -> Tensor:
        # In one dimension, at a third of what `gather` along the classes takes.
        return map_KN.view(-1).index_select(0, self.place_N)

    def each(self, value_K: Tensor) -> Tensor:
        return value_K.index_select(0, self.class_N)

    def sums(self, value_N: Tensor | None = None) -> Tensor:
        if value_N is None:
            sums_K = self.counts[: self.classes].double()
        else:
            # In float64: bincount adds float32 weights in float32, one by one.
            sums_K = torch.bincount(self.label_N, value_N.double(), minlength=self.classes)
            sums_K = sums_K[: self.classes]
        if self.ignore_index is not None and self.ignore_index < self.classes:
            sums_K[self.ignore_index] = 0
        return sums_K

    def add(self, map_KN: Tensor, value_N: Tensor) -> None:
        map_KN.view(-1).scatter_add_(0, self.place_N, value_N)


class Masks:
    """Truth by masks, all of them 0 where a pixel is ignored."""

    def __init__(
        self, label_N: Tensor, classes: int, ignore_index: int | None, dtype: torch.dtype
    ) -> None:
        self.label_N, self.ignore_index, self.valid_N = label_N, ignore_index, None
        # However it is rounded, a label that is no class becomes none.
        value_N = label_N if label_N.dtype == torch.uint8 else label_N.to(dtype)
        self.mask_KN = torch.empty(classes, len(label_N), dtype=dtype)
        # Written as numbers: torch compares 5 times as fast as where it writes truth values.
        torch.eq(value_N, torch.arange(classes, dtype=value_N.dtype)[:, None], out=self.mask_KN)
        if ignore_index is not None and 0 <= ignore_index < classes:
            self.mask_KN[ignore_index].zero_()
        self.pixels_K = self.mask_KN.sum(dim=1).double()
        self.others = len(label_N) - int(self.pixels_K.sum())
        if self.others and ignore_index is not None:
            self.valid_N = self.mask_KN.sum(dim=0)
        self.mask_rows = self.mask_KN.unbind()

    @property
    def stray(self) -> int:
        if not self.others or self.ignore_index is None:
            return self.others
        return self.others - int((self.label_N == self.ignore_index).sum())

    def at(self, map_KN: Tensor) -> Tensor:
        value_N = torch.zeros_like(map_KN[0])
        for row_N, mask_N in zip(map_KN.unbind(), self.mask_rows, strict=True):
            value_N.addcmul_(row_N, mask_N)
        if not math.isfinite(float(value_N.sum())):
            # 0 times infinity: that of another class, or an ignored pixel's.
            value_N = torch.where(self.mask_KN > 0, map_KN, 0).sum(dim=0)
        return value_N

    def each(self, value_K: Tensor) -> Tensor:
        return torch.mv(self.mask_KN.t(), value_K)

    def sums(self, value_N: Tensor | None = None) -> Tensor:
        return self.pixels_K if value_N is None else torch.mv(self.mask_KN, value_N).double()

    def add(self, map_KN: Tensor, value_N: Tensor) -> None:
        for row_N, mask_N in zip(map_KN.unbind(), self.mask_rows, strict=True):
            row_N.addcmul_(mask_N, value_N)


def _range(label_N: Tensor) -> tuple[int, int]:
    low, high = torch.aminmax(label_N)
    return int(low), int(high)


def _narrow(label_N: Tensor, classes: int, ignore_index: int | None) -> tuple[Tensor, int | None]:
    """The same classes, K for the label to ignore, K + 1 for what is neither; and that label."""
    stray_N = (label_N < 0) | (label_N >= classes)
    narrow_N = label_N.long().masked_fill(stray_N, classes + 1)
    if ignore_index is None:
        return narrow_N, None
    return narrow_N.masked_fill_(label_N == ignore_index, classes), classes
