"""What a large image is to whoever reads it by region, and how it is cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from segkit.data.files.spacing import Spacing


class RegionReader(Protocol):
    """An image of which any rectangle can be read without the rest.

    shape    (H, W, C) of the level that is read
    dtype    of the stored values
    spacing  how large a pixel of this level is; None where the file does not say
    levels   (H, W) of every level of the pyramid, the finest first
    alpha    whether the last of two or four channels is plain alpha

    A plugin adds a format by an entry point of the group `segkit.region_readers`: its name is the
    suffix of the files without the dot, its value a function (path, level) -> RegionReader.
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def spacing(self) -> Spacing | None: ...

    @property
    def levels(self) -> tuple[tuple[int, int], ...]: ...

    @property
    def alpha(self) -> bool: ...

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """(h, w, C) as stored; rows and columns have a start and a stop, inside the image."""

    def close(self) -> None:
        """Closes the file."""


@dataclass(frozen=True)
class Region:
    """A rectangle that is given labels, and the larger one that the network sees for it.

    number           from 0, row by row
    rows, columns    what is labelled: these of all regions cover the image, each pixel once
    top, left        where what is seen begins
    bottom, right    the first pixels beyond it
    """

    number: int
    rows: slice
    columns: slice
    top: int
    left: int
    bottom: int
    right: int

    @property
    def seen(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def inner(self) -> tuple[slice, slice]:
        """The labelled pixels within those seen."""
        return (
            slice(self.rows.start - self.top, self.rows.stop - self.top),
            slice(self.columns.start - self.left, self.columns.stop - self.left),
        )

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of what is labelled."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


@dataclass(frozen=True)
class Cut:
    """How an image is cut into regions.

    height, width   of the image
    tile            side of what the network sees at a time, pixels
    overlap         share of the tile that neighbours have in common; half of it is the margin
    stride          of the network: regions begin at multiples of it, so that the network's grid is
                    that of the whole image
    """

    height: int
    width: int
    tile: int
    overlap: float
    stride: int

    @property
    def margin(self) -> int:
        """Pixels seen beyond what is labelled, at each side that is not the image's own."""
        return _multiple(self.tile * self.overlap / 2, self.stride)

    @property
    def step(self) -> int:
        """Side of what is labelled."""
        return max(self.stride, (self.tile - 2 * self.margin) // self.stride * self.stride)

    @property
    def count(self) -> int:
        return -(-self.height // self.step) * -(-self.width // self.step)

    def bands(self) -> Iterator[list[Region]]:
        """The regions, row by row."""
        number = 0
        for top in range(0, self.height, self.step):
            band = []
            for left in range(0, self.width, self.step):
                rows = slice(top, min(top + self.step, self.height))
                columns = slice(left, min(left + self.step, self.width))
                band.append(
                    Region(
                        number,
                        rows,
                        columns,
                        max(0, top - self.margin),
                        max(0, left - self.margin),
                        min(rows.stop + self.margin, self.height),
                        min(columns.stop + self.margin, self.width),
                    )
                )
                number += 1
            yield band


def _multiple(value: float, stride: int) -> int:
    return -int(-value // stride) * stride


def alike(band: Sequence[Region], most: int) -> Iterator[list[Region]]:
    """Neighbours that see parts of one size."""
    group: list[Region] = []
    for region in band:
        shape = region.bottom - region.top, region.right - region.left
        if group and (
            len(group) == most or shape != (group[0].bottom - group[0].top, _width(group[0]))
        ):
            yield group
            group = []
        group.append(region)
    if group:
        yield group


def _width(region: Region) -> int:
    return region.right - region.left
