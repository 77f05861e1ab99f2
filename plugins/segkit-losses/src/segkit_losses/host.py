"""One-pass sums on the CPU: tile by tile, so that what is computed stays in the cache.

Three quarters of the time of the same losses written plainly goes into memory: their softmax,
one-hot truth and products are each as large as the logits. Here nothing is larger than a tile but
the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, Protocol

import torch
from torch import Tensor

from segkit_losses.threads import side_by_side
from segkit_losses.tiles import ROWS, Wanted, exponentials, measure, read_labels, slope

# Logits in a tile: 2**18 to 2**19 measured best on cores with 1 MiB of cache each. Smaller tiles
# lose more to the calls (40 a tile) than they gain.
TILE = 393_216
# More would round sums in float32 over too many pixels, where classes are few.
MOST_PIXELS = 2**16


class Tiles(Protocol):
    """Cuts logits into tiles.

    classes       K
    ignore_index  as the labels of `read` have it
    dtype         of the arithmetic
    most          pixels in the largest tile
    """

    classes: int
    ignore_index: int | None
    dtype: torch.dtype
    most: int

    def shares(self, number: int) -> list[Iterator[Any]]:
        """All places, dealt out to so many threads at most; no two threads write to one place."""

    def read(self, place: Any, room: Tensor) -> tuple[Tensor, Tensor]:
        """logits_KN, where needed written to `room`, and label_N."""

    def gradient(self, place: Any, raised_KN: Tensor) -> Tensor:
        """Where the tile's gradient is to be written: the gradient itself, or raised_KN."""

    def keep(self, place: Any, gradient_KN: Tensor) -> None:
        """Takes what was written to `gradient(place)`."""


def add_up(tiles: Tiles, wanted: Wanted) -> tuple[Tensor, Tensor]:
    """(sums_RK float64, stray labels) over all tiles."""

    def add(places: Iterator[Any]) -> tuple[Tensor, int]:
        sums_RK = torch.zeros(ROWS, tiles.classes, dtype=torch.float64)
        room, stray = _room(tiles), 0
        for place in places:
            logits_KN, label_N = tiles.read(place, room)
            labels = read_labels(label_N, tiles.classes, tiles.ignore_index)
            tile = exponentials(logits_KN, labels, _shaped(room, logits_KN))
            measure(tile, labels, wanted, sums_RK)
            stray += labels.stray
        return sums_RK, stray

    parts = side_by_side(add, tiles.shares)
    sums_RK = torch.stack([each_RK for each_RK, _ in parts]).sum(dim=0)
    return sums_RK, torch.tensor(sum(stray for _, stray in parts))


def descend(tiles: Tiles, wanted: Wanted, weights_RK: Tensor) -> None:
    """Has the tiles keep the gradient of (weights_RK * sums_RK).sum()."""
    weights_RK = weights_RK.to(tiles.dtype)

    def write(places: Iterator[Any]) -> None:
        room = _room(tiles)
        spare = _room(tiles) if wanted.overlap else room
        for place in places:
            logits_KN, label_N = tiles.read(place, room)
            labels = read_labels(label_N, tiles.classes, tiles.ignore_index)
            tile = exponentials(logits_KN, labels, _shaped(room, logits_KN))
            gradient_KN = tiles.gradient(place, tile.raised_KN)
            slope(tile, labels, wanted, weights_RK, _shaped(spare, logits_KN), gradient_KN)
            tiles.keep(place, gradient_KN)

    side_by_side(write, tiles.shares)


Corner = tuple[int, int, int]


class WholeTiles:
    """Logits as large as the target, of any strides and type."""

    def __init__(
        self, logits_BKHW: Tensor, target_BHW: Tensor, ignore_index: int | None, *, slopes: bool
    ) -> None:
        self.classes, self.ignore_index = logits_BKHW.shape[1], ignore_index
        self.dtype = torch.float64 if logits_BKHW.dtype == torch.float64 else torch.float32
        self.logits, self.targets = _in_one_row(logits_BKHW), target_BHW
        self.slopes_BKHW = torch.empty_like(logits_BKHW) if slopes else None
        self.slopes = None
        if self.slopes_BKHW is not None:
            self.slopes = _in_one_row(self.slopes_BKHW)
            if self.slopes.shape != self.logits.shape:
                self.slopes = self.slopes_BKHW
                self.logits = logits_BKHW
        self.targets = target_BHW.reshape(len(target_BHW), *self.logits.shape[2:])
        rows, columns = self.logits.shape[2:]
        pixels = min(max(TILE // self.classes, 1), MOST_PIXELS)
        self.columns = min(columns, pixels)
        self.rows = max(min(rows, pixels // max(self.columns, 1)), 1)
        self.most = self.rows * self.columns

    def shares(self, number: int) -> list[Iterator[Corner]]:
        images, _, rows, columns = self.logits.shape
        if not self.most:
            return [iter(())]
        tops, lefts = range(0, rows, self.rows), range(0, columns, self.columns)
        places = list(product(range(images), tops, lefts))
        return [iter(places[first::number]) for first in range(min(number, len(places)))]

    def read(self, place: Corner, room: Tensor) -> tuple[Tensor, Tensor]:
        logits_Krc = self._part(self.logits, place)
        image, top, left = place
        label_rc = self.targets[image, top : top + self.rows, left : left + self.columns]
        logits_KN = self._as_it_lies(logits_Krc)
        if logits_KN is None:
            logits_KN = room[: logits_Krc.numel()].view(self.classes, -1)
            logits_KN.view(logits_Krc.shape).copy_(logits_Krc)
        return logits_KN, label_rc.reshape(-1)

    def gradient(self, place: Corner, raised_KN: Tensor) -> Tensor:
        assert self.slopes is not None
        inside_KN = self._as_it_lies(self._part(self.slopes, place))
        return raised_KN if inside_KN is None else inside_KN

    def keep(self, place: Corner, gradient_KN: Tensor) -> None:
        assert self.slopes is not None
        part_Krc = self._part(self.slopes, place)
        if self._as_it_lies(part_Krc) is None:
            part_Krc.copy_(gradient_KN.view(part_Krc.shape))

    def _part(self, maps: Tensor, place: Corner) -> Tensor:
        image, top, left = place
        return maps[image, :, top : top + self.rows, left : left + self.columns]

    def _as_it_lies(self, part_Krc: Tensor) -> Tensor | None:
        """The same memory as (K, N), where a class's pixels lie side by side in the right type."""
        if part_Krc.dtype != self.dtype or part_Krc.stride(2) != 1 or part_Krc.shape[1] != 1:
            return None
        return part_Krc[:, 0]


def _in_one_row(maps_BKHW: Tensor) -> Tensor:
    """(B, K, 1, H * W) of the same memory where its strides allow it."""
    try:
        return maps_BKHW.view(*maps_BKHW.shape[:2], 1, -1)
    except RuntimeError:
        return maps_BKHW


def _room(tiles: Tiles) -> Tensor:
    return torch.empty(tiles.classes * tiles.most, dtype=tiles.dtype)


def _shaped(room: Tensor, like_KN: Tensor) -> Tensor:
    return room[: like_KN.numel()].view(like_KN.shape)
