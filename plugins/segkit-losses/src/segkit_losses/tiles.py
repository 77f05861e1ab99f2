"""Logits cut into tiles that stay in the cache, and enlarged there where they come coarse.

Three quarters of the time of the same losses written plainly goes into memory: their softmax,
one-hot truth and products are each as large as the logits. Here nothing is, but the gradient; and
of coarse logits not even that.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from segkit_losses.tile import ROWS, Tile, TwoClassTile, Wanted

# Logits in a tile: 2**18 to 2**19 measured best on cores with 1 MiB of cache each. Smaller tiles
# lose more to the calls (40 a tile) than they gain.
TILE = 393_216
# More would round sums in float32 over too many pixels, where classes are few.
MOST_PIXELS = 2**17
# Gradients of so many classes are written to channels-last maps faster one by one than turned.
FEW_TO_COPY = 32
# Stands for "ignored" beyond the target, where it is smaller than the enlarged logits.
BEYOND = -(2**62)

# Given a tile and room of the logits' size: None, or the gradient in the logits.
Visit = Callable[[Tile | TwoClassTile, Tensor], Tensor | None]
Place = tuple[slice, slice]
Result = TypeVar("Result")


class Tiles:
    """All tiles of a batch.

    logits_BKhw   of any strides and floating type, on the CPU
    target_BHW    of any integer type; at most `scale` times as large as the logits
    scale         how many times the logits are to be enlarged, as torch.nn.functional.interpolate
                  does it with mode="bilinear" and align_corners=False
    """

    def __init__(
        self, logits_BKhw: Tensor, target_BHW: Tensor, scale: int, ignore_index: int | None
    ) -> None:
        self.scale, self.maps_KBhw = scale, logits_BKhw.transpose(0, 1)
        self.dtype = torch.float64 if logits_BKhw.dtype == torch.float64 else torch.float32
        self.classes, self.images, self.height, self.width = self.maps_KBhw.shape
        if scale > 1:
            # A frame around every map: the border repeated.
            maps_KBhw = self.maps_KBhw.to(self.dtype).contiguous()
            self.framed_KBhw = F.pad(maps_KBhw, (1, 1, 1, 1), mode="replicate")
        size = self.height * scale, self.width * scale
        target_BHW, self.ignore_index = _padded(target_BHW, size, ignore_index)
        self.targets_Bhiwj = target_BHW.view(self.images, self.height, scale, self.width, scale)
        # A tile of enlarged logits lies in one row within the coarse pixels.
        pixels = max(min(TILE // self.classes, MOST_PIXELS) // scale, 1)
        self.rows_a_tile = max(min(pixels // max(self.width, 1), self.height), 1)
        images = pixels // max(self.height * self.width, 1)
        whole = self.rows_a_tile == self.height
        self.images_a_tile = max(min(images, self.images), 1) if whole else 1

    def sums(self, wanted: Wanted) -> tuple[Tensor, int]:
        """(sums_RK float64, pixels whose label is out of range)."""

        def add(places: list[Place]) -> tuple[Tensor, int]:
            sums_RK = torch.zeros(ROWS, self.classes, dtype=torch.float64)
            outside = 0

            def visit(tile: Tile | TwoClassTile, _: Tensor) -> None:
                nonlocal outside
                tile.add_sums(sums_RK, wanted)
                outside += tile.outside()

            self._walk(places, visit, None)
            return sums_RK, outside

        parts = _in_threads(add, self._shares())
        return torch.stack([each for each, _ in parts]).sum(dim=0), sum(n for _, n in parts)

    def gradient(self, weights_RK: Tensor, wanted: Wanted) -> Tensor:
        """Of (weights_RK * sums_RK).sum() in the logits, with their shape, strides and type."""
        weights_RK = weights_RK.to(self.dtype)
        if self.scale > 1:
            gradient_KBhw = torch.zeros_like(self.framed_KBhw)
        else:
            gradient_KBhw = torch.empty_like(self.maps_KBhw.transpose(0, 1)).transpose(0, 1)

        def write(places: list[Place]) -> None:
            def visit(tile: Tile | TwoClassTile, room_KN: Tensor) -> Tensor:
                return tile.gradient(weights_RK, wanted, room_KN)

            self._walk(places, visit, gradient_KBhw)

        _in_threads(write, self._shares())
        if self.scale == 1:
            return gradient_KBhw.transpose(0, 1)
        gradient_BKhw = torch.empty_like(self.maps_KBhw.transpose(0, 1))
        return gradient_BKhw.copy_(_unframed(gradient_KBhw).transpose(0, 1))

    def _shares(self) -> list[list[Place]]:
        """All places, dealt out to threads; no two threads write to one coarse pixel."""
        images = range(0, self.images, self.images_a_tile)
        rows = range(0, self.height if self.width else 0, self.rows_a_tile)
        places = [
            [(slice(b, b + self.images_a_tile), slice(h, h + self.rows_a_tile)) for h in rows]
            for b in images
        ]
        if self.scale == 1:
            places = [[place] for group in places for place in group]
        threads = max(min(torch.get_num_threads(), len(places)), 1)
        return [list(chain(*places[first::threads])) for first in range(threads)]

    def _walk(self, places: list[Place], visit: Visit, gradient_KBhw: Tensor | None) -> None:
        """Visits the tiles of these places, and keeps their gradients."""
        walk = self._walk_whole if self.scale == 1 else self._walk_enlarged
        pixels = self.images_a_tile * self.rows_a_tile * self.width * self.scale
        rooms = torch.empty(2, self.classes * pixels, dtype=self.dtype).unbind()
        for place in places:
            walk(place, visit, gradient_KBhw, *rooms)

    def _visit(
        self, logits_KN: Tensor, label_N: Tensor, visit: Visit, room: Tensor
    ) -> Tensor | None:
        kind = TwoClassTile if self.classes == 2 else Tile
        room_KN = room[: logits_KN.numel()].view_as(logits_KN)
        return visit(kind(logits_KN, label_N, self.ignore_index), room_KN)

    def _walk_whole(
        self, place: Place, visit: Visit, gradient_KBhw: Tensor | None, room: Tensor, other: Tensor
    ) -> None:
        images, rows = place
        part_Kbrw = self.maps_KBhw[:, images, rows]
        label_N = self.targets_Bhiwj[images, rows].reshape(-1)
        part_NK = _classes_last(part_Kbrw)
        if part_NK is not None:
            logits_KN = turned(part_NK.to(self.dtype))
        else:
            # Copied even where it could be used as it lies: memory is read twice as fast in order
            # as by operations over the classes.
            logits_KN = room[: part_Kbrw.numel()].view(self.classes, -1)
            logits_KN.view(part_Kbrw.shape).copy_(part_Kbrw)
        gradient_KN = self._visit(logits_KN, label_N, visit, other)
        if gradient_KN is None or gradient_KBhw is None:
            return
        kept_Kbrw = gradient_KBhw[:, images, rows]
        kept_NK = _classes_last(kept_Kbrw)
        if kept_NK is None or (self.classes <= FEW_TO_COPY and kept_NK.dtype == self.dtype):
            kept_Kbrw.copy_(gradient_KN.view(kept_Kbrw.shape))
        else:
            kept_NK.copy_(turned(gradient_KN))

    def _walk_enlarged(
        self, place: Place, visit: Visit, gradient_KBhw: Tensor | None, room: Tensor, other: Tensor
    ) -> None:
        """Row i within the coarse pixels after row i; in a tile, column j after column j.

        All pixels of one place (i, j) within their coarse pixels take the same shares of the same
        neighbours, so that enlarging is an interpolation of whole maps.
        """
        images, rows = place
        band = slice(rows.start, rows.stop + 2)
        framed_Kbrw = self.framed_KBhw[:, images, band]
        batch, height, width = framed_Kbrw[:, :, 1:-1, 1:-1].shape[1:]
        logits_Kjbrw = room[: self.classes * self.scale * batch * height * width]
        logits_Kjbrw = logits_Kjbrw.view(self.classes, self.scale, batch, height, width)
        for i in range(self.scale):
            share, near, beside = self._neighbour(i, height)
            across_Kbrw = torch.lerp(framed_Kbrw[:, :, near], framed_Kbrw[:, :, beside], share)
            for j in range(self.scale):
                share, near, beside = self._neighbour(j, width)
                torch.lerp(
                    across_Kbrw[..., near], across_Kbrw[..., beside], share, out=logits_Kjbrw[:, j]
                )
            label_brwj = self.targets_Bhiwj[images, rows, i]
            label_N = label_brwj.permute(3, 0, 1, 2).reshape(-1)
            gradient_KN = self._visit(logits_Kjbrw.view(self.classes, -1), label_N, visit, other)
            if gradient_KN is not None and gradient_KBhw is not None:
                self._add(gradient_KBhw[:, images, band], i, gradient_KN.view_as(logits_Kjbrw))

    def _add(self, framed_Kbrw: Tensor, i: int, gradient_Kjbrw: Tensor) -> None:
        """Adds the gradient of row i within the coarse pixels: enlarging, transposed."""
        height, width = gradient_Kjbrw.shape[3:]
        across_Kbrw = torch.zeros_like(framed_Kbrw[:, :, 1:-1])
        for j in range(self.scale):
            share, near, beside = self._neighbour(j, width)
            across_Kbrw[..., near].add_(gradient_Kjbrw[:, j], alpha=1 - share)
            across_Kbrw[..., beside].add_(gradient_Kjbrw[:, j], alpha=share)
        share, near, beside = self._neighbour(i, height)
        framed_Kbrw[:, :, near].add_(across_Kbrw, alpha=1 - share)
        framed_Kbrw[:, :, beside].add_(across_Kbrw, alpha=share)

    def _neighbour(self, place: int, length: int) -> tuple[float, slice, slice]:
        """For a place within a coarse pixel: its neighbour's share, and where in a framed line of
        this length the pixels and their neighbours are."""
        offset = (place + 0.5) / self.scale - 0.5
        first = 2 if offset >= 0 else 0
        return abs(offset), slice(1, 1 + length), slice(first, first + length)


def _unframed(framed_KBhw: Tensor) -> Tensor:
    """The gradient of the framing: what the frame received belongs to the border."""
    framed_KBhw[:, :, 1] += framed_KBhw[:, :, 0]
    framed_KBhw[:, :, -2] += framed_KBhw[:, :, -1]
    framed_KBhw[..., 1] += framed_KBhw[..., 0]
    framed_KBhw[..., -2] += framed_KBhw[..., -1]
    return framed_KBhw[:, :, 1:-1, 1:-1]


def turned(matrix_MN: Tensor) -> Tensor:
    """Its transpose, in memory of its own."""
    rows, columns = matrix_MN.shape
    # Of torch's ways to transpose the one with vector instructions, 3 times as fast as a copy.
    line_1X11 = matrix_MN.view(1, 1, 1, -1).permute(0, 3, 1, 2)
    return torch.channel_shuffle(line_1X11, rows).view(columns, rows)


def _classes_last(part_Kbrw: Tensor) -> Tensor | None:
    """The same memory as (N, K), where a pixel's classes lie side by side."""
    part_brwK = part_Kbrw.movedim(0, -1)
    return part_brwK.flatten(0, 2) if part_brwK.is_contiguous() else None


def _padded(
    target_BHW: Tensor, size: tuple[int, int], ignore_index: int | None
) -> tuple[Tensor, int | None]:
    """The target in this size, ignored where it was not, and what marks ignored pixels now."""
    height, width = target_BHW.shape[1:]
    if (height, width) == size:
        return target_BHW.contiguous(), ignore_index
    below, beside = size[0] - height, size[1] - width
    ignore_index = BEYOND if ignore_index is None else ignore_index
    # Wide: an ignored label need not be a byte.
    return F.pad(target_BHW.long(), (0, beside, 0, below), value=ignore_index), ignore_index


def _in_threads(work: Callable[[list[Place]], Result], shares: list[list[Place]]) -> list[Result]:
    """work(share) for every share, each in a thread that computes on one core; results in order.

    torch's own threads meet after every operation: on tiles this small that costs more than it
    gains, and on a busy machine many times as much.
    """

    def alone(share: list[Place]) -> Result:
        # Neither is inherited by threads.
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            return work(share)

    if len(shares) == 1:
        return [alone(shares[0])]
    threads = torch.get_num_threads()
    # Threads that begin now take the number over; this one has its own back in the end.
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(len(shares)) as pool:
            return list(pool.map(alone, shares))
    finally:
        torch.set_num_threads(threads)
