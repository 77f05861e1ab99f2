"""Images of any size in tiles that overlap, whose logits are blended band by band."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from segkit.labels import most_likely, rows_of_classes
from segkit.model import SegmentationModel
from segkit.streams import shared_out, side_by_side, streams_of

# Of the tile's side: the width of the Gaussian, and of its peak: the least weight (Isensee et al.
# 2021, arXiv:1904.08128, weight tiles so).
SIGMA, LEAST_WEIGHT = 0.125, 1e-3


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

    def starts(self, length: int) -> list[int]:
        """Where tiles begin along a side; the last is moved back until it lies inside."""
        tile = min(self.tile, length)
        step = max(1, int(tile * (1 - self.overlap)))
        return [*range(0, length - tile, step), length - tile]


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

    def logits_of(tile_BCHW: Tensor) -> Tensor:
        image_BCHW = prepare(tile_BCHW)
        parts = shared_out(image_BCHW, streams_of(image_BCHW.device))
        return torch.cat(side_by_side(model, parts))

    return torch.stack([tiled_labels(each, logits_of, tiling) for each in pixels_BCHW])


@torch.no_grad()
def tiled_labels(
    pixels_CHW: Tensor, logits_of: Callable[[Tensor], Tensor], tiling: Tiling
) -> Tensor:
    """The class of every pixel, label_HW, of one image computed in tiles.

    logits_of   called with pixels_BCHW of so many tiles, returns logits_BKHW of the same size

    Where tiles overlap their logits are added, weighted by a Gaussian that has its peak at the
    tile's centre; weights being positive, the sums need not be divided. Only the sums of one row of
    tiles are held: rows that no later tile touches become labels at once.
    """
    height, width = pixels_CHW.shape[-2:]
    tops, lefts = tiling.starts(height), tiling.starts(width)
    band = _Band(width)
    labels = []
    for top, following in zip(tops, [*tops[1:], height], strict=True):
        for first in range(0, len(lefts), tiling.batch):
            some = lefts[first : first + tiling.batch]
            logits_BKHW = logits_of(_tiles(pixels_CHW, top, some, tiling.tile))
            for left, logits_KHW in zip(some, logits_BKHW, strict=True):
                band.add(logits_KHW, left)
        labels.append(band.finished(following - top))
    return torch.cat(labels)


def window(height: int, width: int) -> Tensor:
    """The weight of each pixel of a tile, (H, W), above 0."""
    row_H, column_W = (_gaussian(length) for length in (height, width))
    return (row_H[:, None] * column_W).clamp(min=LEAST_WEIGHT)


class _Band:
    """Sums of weighted logits of one row of tiles, as wide as the image: (H, K, W)."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.sum_HKW = self.weight_H1W = torch.empty(0)

    def add(self, logits_KHW: Tensor, left: int) -> None:
        """Adds a tile that begins at this column."""
        if not self.sum_HKW.numel():
            self._begin(logits_KHW)
        part_HKW = self.sum_HKW[..., left : left + logits_KHW.shape[-1]]
        part_HKW.addcmul_(rows_of_classes(logits_KHW), self.weight_H1W)

    def _begin(self, logits_KHW: Tensor) -> None:
        classes, height, width = logits_KHW.shape
        dtype = torch.promote_types(logits_KHW.dtype, torch.float32)
        self.sum_HKW = logits_KHW.new_zeros((height, classes, self.width), dtype=dtype)
        self.weight_H1W = window(height, width)[:, None].to(self.sum_HKW)

    def finished(self, rows: int) -> Tensor:
        """The labels of so many rows from the top; the rest moves up, and is followed by zeros."""
        label_HW = most_likely(self.sum_HKW[:rows].transpose(0, 1)[None])[0]
        rest = len(self.sum_HKW) - rows
        # Of two parts that overlap the upper would be overwritten before it is read.
        self.sum_HKW[:rest] = self.sum_HKW[rows:].clone() if rest > rows else self.sum_HKW[rows:]
        self.sum_HKW[rest:] = 0
        return label_HW


def _tiles(pixels_CHW: Tensor, top: int, lefts: list[int], tile: int) -> Tensor:
    return torch.stack([pixels_CHW[:, top : top + tile, left : left + tile] for left in lefts])


def _gaussian(length: int) -> Tensor:
    place_N = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
    return torch.exp(-0.5 * (place_N / (SIGMA * length)) ** 2)
