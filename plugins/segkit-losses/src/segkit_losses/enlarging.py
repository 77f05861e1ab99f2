"""Coarse logits enlarged tile by tile while a loss reads them, and its gradient made coarse again.

What lies beyond the target, at bottom and right, counts as ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from segkit_losses.host import TILE

# Stands for "ignored" where the target has no label for it.
NO_LABEL = -(2**62)
# Columns in a tile of MatrixTiles: few, since every one is made of all coarse columns of the tile.
COLUMNS = 64


class Enlargement(NamedTuple):
    """size and align_corners as torch.nn.functional.interpolate(mode="bilinear") has them."""

    size: tuple[int, int]
    align_corners: bool


def enlarged_tiles(
    coarse_BKhw: Tensor,
    target_BHW: Tensor,
    enlargement: Enlargement,
    ignore_index: int | None,
    *,
    slopes: bool,
) -> RepeatingTiles | MatrixTiles:
    height, width = coarse_BKhw.shape[2:]
    scale = enlargement.size[0] // max(height, 1)
    if enlargement.align_corners or enlargement.size != (height * scale, width * scale):
        return MatrixTiles(coarse_BKhw, target_BHW, enlargement, ignore_index, slopes=slopes)
    return RepeatingTiles(coarse_BKhw, target_BHW, scale, ignore_index, slopes=slopes)


def padded_targets(
    target_BHW: Tensor, size: tuple[int, int], ignore_index: int | None
) -> tuple[Tensor, int | None]:
    """The target in this size, ignored where it was not, and the ignored label."""
    below, beside = size[0] - target_BHW.shape[1], size[1] - target_BHW.shape[2]
    if not (below or beside):
        return target_BHW, ignore_index
    if ignore_index is None:
        ignore_index, target_BHW = NO_LABEL, target_BHW.long()
    return F.pad(target_BHW, (0, beside, 0, below), value=ignore_index), ignore_index


class Band(NamedTuple):
    """Of an image's coarse rows from `top` on, those pixels that lie in one row within them.

    framed_Khw   the image's coarse logits, their border repeated around them
    slopes_Khw   their gradient so far
    """

    image: int
    top: int
    row: int
    framed_Khw: Tensor
    slopes_Khw: Tensor | None


class RepeatingTiles:
    """Coarse logits, enlarged bilinearly `scale` times while they are read.

    The pixels of a tile share their row within the coarse pixel, and are sorted by their column
    within it. All of one place take the same two weights from two neighbours, so enlarging is one
    interpolation of whole planes, equal to torch.nn.functional.interpolate(mode="bilinear",
    align_corners=False); what lies beyond the target counts as ignored.
    """

    def __init__(
        self,
        coarse_BKhw: Tensor,
        target_BHW: Tensor,
        scale: int,
        ignore_index: int | None,
        *,
        slopes: bool,
    ) -> None:
        self.coarse, self.scale = coarse_BKhw, scale
        self.classes = coarse_BKhw.shape[1]
        self.dtype = torch.float64 if coarse_BKhw.dtype == torch.float64 else torch.float32
        self.height, self.width = coarse_BKhw.shape[2:]
        size = self.height * scale, self.width * scale
        target_BHW, self.ignore_index = padded_targets(target_BHW, size, ignore_index)
        self.targets = target_BHW.reshape(-1, self.height, scale, self.width, scale)
        self.rows = min(
            max(TILE // (self.classes * scale * max(self.width, 1)), 1), max(self.height, 1)
        )
        self.most = self.rows * scale * self.width
        self.slopes_BKHW = torch.empty_like(coarse_BKhw) if slopes else None

    def shares(self, number: int) -> list[Iterator[Band]]:
        images = range(len(self.coarse))
        dealt = [images[first::number] for first in range(min(number, len(images)))]
        return [self._bands(each) for each in dealt] or [iter(())]

    def _bands(self, images: Iterable[int]) -> Iterator[Band]:
        for image in images:
            framed_Khw = _framed(self.coarse[image].to(self.dtype))
            slopes_Khw = None if self.slopes_BKHW is None else torch.zeros_like(framed_Khw)
            for top in range(0, self.height, self.rows):
                for row in range(self.scale):
                    yield Band(image, top, row, framed_Khw, slopes_Khw)
            if self.slopes_BKHW is not None and slopes_Khw is not None:
                self.slopes_BKHW[image] = _unframed(slopes_Khw)

    def read(self, place: Band, room: Tensor) -> tuple[Tensor, Tensor]:
        top, row, framed_Khw = place.top, place.row, place.framed_Khw
        rows = min(self.rows, self.height - top)
        share, side = self._neighbour(row)
        across_Krw = torch.lerp(
            framed_Khw[:, top + 1 : top + 1 + rows],
            framed_Khw[:, top + 1 + side : top + 1 + side + rows],
            share,
        )
        logits_Ksrw = room[: self.classes * self.scale * rows * self.width].view(
            self.classes, self.scale, rows, self.width
        )
        for column in range(self.scale):
            share, side = self._neighbour(column)
            torch.lerp(
                across_Krw[..., 1:-1],
                across_Krw[..., 1 + side : 1 + side + self.width],
                share,
                out=logits_Ksrw[:, column],
            )
        label_rws = self.targets[place.image, top : top + rows, row]
        return logits_Ksrw.view(self.classes, -1), label_rws.permute(2, 0, 1).reshape(-1)

    def keep(self, place: Band, gradient_KN: Tensor) -> None:
        top, row, slopes_Khw = place.top, place.row, place.slopes_Khw
        assert slopes_Khw is not None
        rows = min(self.rows, self.height - top)
        gradient_Ksrw = gradient_KN.view(self.classes, self.scale, rows, self.width)
        across_Krw = gradient_KN.new_zeros(self.classes, rows, self.width + 2)
        for column in range(self.scale):
            share, side = self._neighbour(column)
            plane_Krw = gradient_Ksrw[:, column]
            across_Krw[..., 1:-1].add_(plane_Krw, alpha=1 - share)
            across_Krw[..., 1 + side : 1 + side + self.width].add_(plane_Krw, alpha=share)
        share, side = self._neighbour(row)
        slopes_Khw[:, top + 1 : top + 1 + rows].add_(across_Krw, alpha=1 - share)
        beside = slice(top + 1 + side, top + 1 + side + rows)
        slopes_Khw[:, beside].add_(across_Krw, alpha=share)

    def _neighbour(self, place: int) -> tuple[float, int]:
        """The weight of the neighbour, and which: -1 or 1, for a place within a coarse pixel."""
        offset = (place + 0.5) / self.scale - 0.5
        return abs(offset), 1 if offset >= 0 else -1


def _framed(map_Khw: Tensor) -> Tensor:
    return F.pad(map_Khw.contiguous()[None], (1, 1, 1, 1), mode="replicate")[0]


def _unframed(framed_Khw: Tensor) -> Tensor:
    """The gradient of `_framed`: what the frame received belongs to the border."""
    framed_Khw[:, 1] += framed_Khw[:, 0]
    framed_Khw[:, -2] += framed_Khw[:, -1]
    framed_Khw[:, :, 1] += framed_Khw[:, :, 0]
    framed_Khw[:, :, -2] += framed_Khw[:, :, -1]
    return framed_Khw[:, 1:-1, 1:-1]


class Window(NamedTuple):
    """A tile of MatrixTiles: rows and columns of one enlarged image.

    coarse_Khw   the image's coarse logits
    slopes_Khw   their gradient so far
    """

    image: int
    rows: slice
    columns: slice
    coarse_Khw: Tensor
    slopes_Khw: Tensor | None


class MatrixTiles:
    """Enlarged by any factor, corner to corner too: a tile is a product with two small matrices."""

    def __init__(
        self,
        coarse_BKhw: Tensor,
        target_BHW: Tensor,
        enlargement: Enlargement,
        ignore_index: int | None,
        *,
        slopes: bool,
    ) -> None:
        self.coarse, self.classes = coarse_BKhw, coarse_BKhw.shape[1]
        self.dtype = torch.float64 if coarse_BKhw.dtype == torch.float64 else torch.float32
        self.size, corners = enlargement
        self.targets, self.ignore_index = padded_targets(target_BHW, self.size, ignore_index)
        self.down_Hh, self.across_Ww = (
            interpolation(length, coarse, corners, self.dtype)
            for length, coarse in zip(self.size, coarse_BKhw.shape[2:], strict=True)
        )
        self.columns = min(COLUMNS, self.size[1])
        self.rows = min(max(TILE // (self.classes * max(self.columns, 1)), 1), self.size[0])
        self.most = self.rows * self.columns
        self.slopes_BKHW = torch.empty_like(coarse_BKhw) if slopes else None

    def shares(self, number: int) -> list[Iterator[Window]]:
        images = range(len(self.coarse))
        dealt = [images[first::number] for first in range(min(number, len(images)))]
        return [self._windows(each) for each in dealt] or [iter(())]

    def _windows(self, images: Iterable[int]) -> Iterator[Window]:
        height, width = self.size
        for image in images:
            coarse_Khw = self.coarse[image].to(self.dtype).contiguous()
            slopes_Khw = None if self.slopes_BKHW is None else torch.zeros_like(coarse_Khw)
            for top, left in product(range(0, height, self.rows), range(0, width, self.columns)):
                rows, columns = slice(top, top + self.rows), slice(left, left + self.columns)
                yield Window(image, rows, columns, coarse_Khw, slopes_Khw)
            if self.slopes_BKHW is not None and slopes_Khw is not None:
                self.slopes_BKHW[image] = slopes_Khw

    def read(self, place: Window, room: Tensor) -> tuple[Tensor, Tensor]:
        (down_Rr, rows), (across_Cc, columns) = self._matrices(place)
        narrow_KRc = down_Rr @ place.coarse_Khw[:, rows, columns]
        pixels = len(down_Rr) * len(across_Cc)
        logits_KN = room[: self.classes * pixels].view(self.classes, pixels)
        torch.mm(narrow_KRc.flatten(0, 1), across_Cc.T, out=logits_KN.view(-1, len(across_Cc)))
        return logits_KN, self.targets[place.image, place.rows, place.columns].reshape(-1)

    def keep(self, place: Window, gradient_KN: Tensor) -> None:
        assert place.slopes_Khw is not None
        (down_Rr, rows), (across_Cc, columns) = self._matrices(place)
        narrow_KRc = (gradient_KN.view(-1, len(across_Cc)) @ across_Cc).view(
            self.classes, len(down_Rr), -1
        )
        place.slopes_Khw[:, rows, columns] += down_Rr.T @ narrow_KRc

    def _matrices(self, place: Window) -> tuple[tuple[Tensor, slice], tuple[Tensor, slice]]:
        """For rows and for columns: the tile's part of the matrix, and the coarse ones it takes."""
        return _part(self.down_Hh, place.rows), _part(self.across_Ww, place.columns)


def interpolation(length: int, coarse: int, corners: bool, dtype: torch.dtype) -> Tensor:
    """(length, coarse): row n has the weights of the two coarse values that make up value n."""
    place_N = torch.arange(length, dtype=torch.float64)
    if corners:
        place_N *= (coarse - 1) / (length - 1) if length > 1 else 0
    else:
        place_N = ((place_N + 0.5) * coarse / max(length, 1) - 0.5).clamp(0)
    before_N = place_N.floor().clamp(max=coarse - 1)
    share_N = (place_N - before_N).clamp(0, 1)
    after_N = (before_N + 1).clamp(max=coarse - 1)
    matrix_Nn = torch.zeros(length, coarse, dtype=torch.float64)
    matrix_Nn.scatter_add_(1, before_N.long()[:, None], 1 - share_N[:, None])
    matrix_Nn.scatter_add_(1, after_N.long()[:, None], share_N[:, None])
    return matrix_Nn.to(dtype)


def _part(matrix_Nn: Tensor, chosen: slice) -> tuple[Tensor, slice]:
    rows = matrix_Nn[chosen]
    used = rows.any(dim=0).nonzero()
    first, last = int(used[0]), int(used[-1]) + 1
    return rows[:, first:last], slice(first, last)
