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

from segkit_losses import two
from segkit_losses.threads import side_by_side
from segkit_losses.tiles import ROWS, Wanted, measure, slope
from segkit_losses.truth import Masks, truth_of

# Logits in a tile: 2**18 to 2**19 measured best on cores with 1 MiB of cache each. Smaller tiles
# lose more to the calls (40 a tile) than they gain.
TILE = 393_216
# More would round sums in float32 over too many pixels, where classes are few.
MOST_PIXELS = 2**17
# Gradients of so many classes are written to channels-last maps faster one by one than turned.
FEW_TO_COPY = 32


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
        """logits_KN, which may be overwritten, in `room` or elsewhere, and label_N."""

    def keep(self, place: Any, gradient_KN: Tensor) -> None:
        """Takes the tile's gradient."""


def add_up(tiles: Tiles, wanted: Wanted) -> tuple[Tensor, Tensor]:
    """(sums_RK float64, stray labels) over all tiles."""

    def add(places: Iterator[Any]) -> tuple[Tensor, int]:
        sums_RK = torch.zeros(ROWS, tiles.classes, dtype=torch.float64)
        room, stray = _room(tiles), 0
        for place in places:
            logits_KN, label_N = tiles.read(place, room)
            truth = truth_of(label_N, tiles.classes, tiles.ignore_index, tiles.dtype)
            if isinstance(truth, Masks) and tiles.classes == 2:
                two.measure(logits_KN, truth, wanted, sums_RK)
            else:
                measure(logits_KN, truth, wanted, sums_RK)
            stray += truth.stray
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
            truth = truth_of(label_N, tiles.classes, tiles.ignore_index, tiles.dtype)
            spare_KN = spare[: logits_KN.numel()].view(logits_KN.shape)
            if isinstance(truth, Masks) and tiles.classes == 2:
                gradient_KN = two.slope(logits_KN, truth, wanted, weights_RK, spare_KN)
            else:
                gradient_KN = slope(logits_KN, truth, wanted, weights_RK, spare_KN)
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
        images, _, rows, columns = self.logits.shape
        pixels = min(max(TILE // self.classes, 1), MOST_PIXELS)
        self.columns = min(columns, pixels)
        self.rows = max(min(rows, pixels // max(self.columns, 1)), 1)
        self.images = 1
        if self.rows == rows and self.columns == columns:
            self.images = max(min(images, pixels // max(rows * columns, 1)), 1)
        self.most = self.images * self.rows * self.columns

    def shares(self, number: int) -> list[Iterator[Corner]]:
        images, _, rows, columns = self.logits.shape
        if not self.most:
            return [iter(())]
        firsts = range(0, images, self.images)
        tops, lefts = range(0, rows, self.rows), range(0, columns, self.columns)
        places = list(product(firsts, tops, lefts))
        return [iter(places[first::number]) for first in range(min(number, len(places)))]

    def read(self, place: Corner, room: Tensor) -> tuple[Tensor, Tensor]:
        logits_Kbrc = self._part(self.logits, place)
        label_N = self.targets[self._window(place)].reshape(-1)
        logits_NK = _side_by_side(logits_Kbrc)
        if logits_NK is not None:
            return turned(logits_NK.to(self.dtype)), label_N
        # Copied even where it could be used as it lies: memory is read twice as fast in order as by
        # operations over the classes.
        logits_KN = room[: logits_Kbrc.numel()].view(self.classes, -1)
        logits_KN.view(logits_Kbrc.shape).copy_(logits_Kbrc)
        return logits_KN, label_N

    def keep(self, place: Corner, gradient_KN: Tensor) -> None:
        assert self.slopes is not None
        part_Kbrc = self._part(self.slopes, place)
        part_NK = _side_by_side(part_Kbrc)
        if part_NK is None or (self.classes <= FEW_TO_COPY and part_NK.dtype == self.dtype):
            part_Kbrc.copy_(gradient_KN.view(part_Kbrc.shape))
        else:
            part_NK.copy_(turned(gradient_KN))

    def _part(self, maps: Tensor, place: Corner) -> Tensor:
        images, rows, columns = self._window(place)
        return maps[images, :, rows, columns].transpose(0, 1)

    def _window(self, place: Corner) -> tuple[slice, slice, slice]:
        image, top, left = place
        return (
            slice(image, image + self.images),
            slice(top, top + self.rows),
            slice(left, left + self.columns),
        )


def turned(matrix_MN: Tensor) -> Tensor:
    """Its transpose, in memory of its own."""
    rows, columns = matrix_MN.shape
    # Of torch's ways to transpose the one with vector instructions, 3 times as fast as a copy.
    line_1X11 = matrix_MN.view(1, 1, 1, -1).permute(0, 3, 1, 2)
    return torch.channel_shuffle(line_1X11, rows).view(columns, rows)


def _side_by_side(part_Kbrc: Tensor) -> Tensor | None:
    """The same memory as (N, K), where a pixel's classes lie so, as in channels-last order."""
    part_brcK = part_Kbrc.movedim(0, -1)
    if len(part_Kbrc) == 1 or not part_brcK.is_contiguous():
        return None
    return part_brcK.flatten(0, 2)


def _in_one_row(maps_BKHW: Tensor) -> Tensor:
    """(B, K, 1, H * W) of the same memory where its strides allow it."""
    try:
        return maps_BKHW.view(*maps_BKHW.shape[:2], 1, -1)
    except RuntimeError:
        return maps_BKHW


def _room(tiles: Tiles) -> Tensor:
    return torch.empty(tiles.classes * tiles.most, dtype=tiles.dtype)
