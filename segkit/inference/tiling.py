"""Images of any size in tiles that overlap, whose logits are blended band by band."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from segkit.model.labels import label_rows, label_type, rows_of_classes
from segkit.model.network import SegmentationModel
from segkit.model.streams import in_threads, shared_out, streams_of

# Of the tile's side: the width of the Gaussian, and of its peak: the least weight (Isensee et al.
# 2021, arXiv:1904.08128, weight tiles so).
SIGMA, LEAST_WEIGHT = 0.125, 1e-3
# Values of a block of rows, which is to stay in the cache.
CPU_BLOCK, DEVICE_BLOCK = 2**18, 2**26


@dataclass(frozen=True)
class Tiling:
    """How an image is cut.

    tile     side of a tile, pixels; along a shorter side of the image, that side's length
    overlap  share of a tile that it has in common with the next, 0 to below 1
    batch    tiles computed together
    """

    tile: int = 512
    overlap: float = 0.25
    batch: int = 1

    def holds(self, pixels_BCHW: Tensor) -> bool:
        """Whether an image fits into one tile."""
        return max(pixels_BCHW.shape[-2:]) <= self.tile

    def spans(self, length: int) -> list[Span]:
        """The tiles along a side; the last is moved back until it lies inside."""
        tile = min(self.tile, length)
        step = max(1, int(tile * (1 - self.overlap)))
        starts = [*range(0, length - tile, step), length - tile]
        earlier = [0, *(start + tile for start in starts[:-1])]
        final = [*starts[1:], length]
        return [Span(a, e, f, a + tile) for a, e, f in zip(starts, earlier, final, strict=True)]


class Span(NamedTuple):
    """One side of a tile, from start to stop: places before `earlier` other tiles had before it,
    places before `final` no other tile will have after it."""

    start: int
    earlier: int
    final: int
    stop: int


@torch.no_grad()
def labels_of_images(
    model: SegmentationModel,
    pixels_BCHW: Tensor,
    prepare: Callable[[Tensor], Tensor],
    tiling: Tiling | None = None,
) -> Tensor:
    """The class of every pixel, label_BHW, of images computed whole, or in tiles where larger.

    prepare   turns pixels into what the network takes, on its device
    """
    if tiling is None or tiling.holds(pixels_BCHW):
        return model.labels(prepare(pixels_BCHW))

    def logits_of(tile_BCHW: Tensor) -> list[Tensor]:
        image_BCHW = prepare(tile_BCHW)
        parts = shared_out(image_BCHW, streams_of(image_BCHW.device))
        return [logits_KHW for some_BKHW in in_threads(model, parts) for logits_KHW in some_BKHW]

    return torch.stack([tiled_labels(each, logits_of, tiling) for each in pixels_BCHW])


@torch.no_grad()
def tiled_labels(
    pixels_CHW: Tensor, logits_of: Callable[[Tensor], Iterable[Tensor]], tiling: Tiling
) -> Tensor:
    """The class of every pixel, label_HW, of one image computed in tiles.

    logits_of   called with pixels_BCHW of so many tiles, returns logits_KHW of each: a tensor of
                them, or a list

    Where tiles overlap their logits are added, weighted by a Gaussian that has its peak at the
    tile's centre; weights being positive, the sums need not be divided. Where no later tile touches
    them they become labels at once: only the sums of rows that two rows of tiles share are held.
    """
    height, width = pixels_CHW.shape[-2:]
    rows, columns = tiling.spans(height), tiling.spans(width)
    blend = _Blend(rows, columns)
    for row in rows:
        for first in range(0, len(columns), tiling.batch):
            some = columns[first : first + tiling.batch]
            tiles = [pixels_CHW[:, row.start : row.stop, each.start : each.stop] for each in some]
            found = logits_of(torch.stack(tiles) if len(tiles) > 1 else tiles[0][None])
            for column, logits_KHW in zip(some, found, strict=True):
                blend.add(logits_KHW, row, column)
    return blend.label_HW


def window(height: int, width: int) -> Tensor:
    """The weight of each pixel of a tile, (H, W), above 0."""
    row_H, column_W = (_gaussian(length) for length in (height, width))
    return (row_H[:, None] * column_W).clamp(min=LEAST_WEIGHT)


class _Blend:
    """Adds tile after tile, from left to right and from top to bottom, and labels what is complete.

    Sums to which the next tile of the row adds are in `beside_HKW`, at the tile's rows; those that
    are complete along the row and to which the next row of tiles adds are in `above_HKW`, an image
    row r at r modulo its height. Everything else stays in a block of rows, in the cache.
    """

    def __init__(self, rows: Sequence[Span], columns: Sequence[Span]) -> None:
        self.shared_rows = max(1, *(each.stop - each.final for each in rows))
        self.shared_columns = max(each.stop - each.final for each in columns)
        self.height, self.width = rows[-1].stop, columns[-1].stop
        self.label_HW = torch.empty(0)

    def add(self, logits_KHW: Tensor, row: Span, column: Span) -> None:
        """Adds the tile that lies there."""
        if not self.label_HW.numel():
            self._begin(logits_KHW)
        complete, columns = column.final - column.start, slice(column.start, column.final)
        for first, last in self._blocks(row):
            own = slice(first - row.start, last - row.start)
            place = first % self.shared_rows
            above_RKW = self.above_HKW[place : place + last - first, :, columns]
            beside_RKW = self.beside_HKW[own]
            earlier = [beside_RKW[..., : max(0, column.earlier - column.start)]]
            earlier += [above_RKW] if first < row.earlier else []
            fill = partial(self._sum, logits_KHW[:, own], self.weight_H1W[own], earlier, complete)
            if first >= row.final:
                above_RKW.copy_(fill())
            else:
                self.label_HW[first:last, columns] = label_rows(fill)
            beside_RKW[..., : column.stop - column.final] = self.sum_RKW[
                : last - first, :, complete:
            ]

    def _sum(
        self, logits_KRW: Tensor, weight_R1W: Tensor, earlier: Sequence[Tensor], complete: int
    ) -> Tensor:
        """A block's weighted logits and earlier sums, from the left; columns that are complete."""
        sum_RKW = self.sum_RKW[: logits_KRW.shape[1]]
        torch.mul(rows_of_classes(logits_KRW), weight_R1W, out=sum_RKW)
        for each_RKW in earlier:
            sum_RKW[..., : each_RKW.shape[-1]] += each_RKW
        return sum_RKW[..., :complete]

    def _blocks(self, row: Span) -> Iterator[tuple[int, int]]:
        """First row and end of blocks within which all rows are alike, and end before it wraps."""
        wraps = range(0, self.height, self.shared_rows)
        ends = sorted({row.earlier, row.final, row.stop, *wraps})
        first = row.start
        for end in ends:
            while first < min(end, row.stop):
                last = min(end, row.stop, first + len(self.sum_RKW))
                yield first, last
                first = last

    def _begin(self, logits_KHW: Tensor) -> None:
        classes, height, width = logits_KHW.shape
        new = partial(
            logits_KHW.new_empty, dtype=torch.promote_types(logits_KHW.dtype, torch.float32)
        )
        values = CPU_BLOCK if logits_KHW.device.type == "cpu" else DEVICE_BLOCK
        self.sum_RKW = new((max(1, min(height, values // (classes * width))), classes, width))
        self.beside_HKW = new((height, classes, self.shared_columns))
        self.above_HKW = new((self.shared_rows, classes, self.width))
        self.weight_H1W = window(height, width)[:, None].to(self.sum_RKW)
        self.label_HW = new((self.height, self.width), dtype=label_type(classes))


def _gaussian(length: int) -> Tensor:
    place_N = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
    return torch.exp(-0.5 * (place_N / (SIGMA * length)) ** 2)
