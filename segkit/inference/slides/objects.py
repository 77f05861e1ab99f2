"""The objects of a large image: connected pixels of its labels, or what the model separates.

Read from what the regions have left on disk, a stripe or a row of regions at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segkit.data.files.spacing import Spacing
from segkit.inference.objects import (
    CORE,
    find_objects,
    numbered_map,
    separates_by_boundary,
)
from segkit.inference.predictor import Predictor
from segkit.inference.separated import Found
from segkit.inference.slides.kept import KeptRegions
from segkit.inference.slides.numbering import Numbered, Numbering, overlapping, touching
from segkit.inference.slides.regions import Cut, Region
from segkit.inference.slides.wanted import Wanted
from segkit.inference.slides.writing import write_tiff
from segkit.separation.watershed import connected

# Pixels of a stripe that is numbered at a time, about; and how far on each side of a border the
# answers of two regions are compared.
STRIPE, SEAM = 2**22, 8
Labels = NDArray[np.integer]
Bands = Callable[[], Iterator[Labels]]


@dataclass(frozen=True)
class SlideObjects:
    """Numbers and measures the objects of one image.

    classes     names; background: the label of what is no object
    least_area  smaller objects are left out, pixels
    """

    cut: Cut
    classes: Sequence[str]
    background: int
    least_area: int
    spacing: Spacing | None

    @property
    def size(self) -> tuple[int, int]:
        return self.cut.height, self.cut.width

    def connected(self, bands: Bands) -> tuple[Numbered, Bands]:
        """Objects as pixels of one class that touch, and the bands of their numbers.

        bands   gives rows of labels (h, W) from the top, as often as it is called
        """
        numbering = Numbering(self.size, self.classes, by_class=True)
        top, last = 0, None
        for label_hW, number_hW in self._connected_stripes(bands):
            raised = numbering.add(top, 0, number_hW, label_hW)
            first_W = _raised(number_hW[0], raised)
            if last is not None:
                numbering.join(touching(last[0], first_W, last[1], label_hW[0]))
            last = _raised(number_hW[-1], raised), label_hW[-1]
            top += len(label_hW)
        found = numbering.finished(self.least_area, self.spacing)

        def numbers() -> Iterator[Labels]:
            raised = 0
            for _, number_hW in self._connected_stripes(bands):
                yield found.final_N[_raised(number_hW, raised)]
                raised += int(number_hW.max(initial=0))

        return found, numbers

    def separated(self, labels: KeptRegions, windows: KeptRegions) -> tuple[Numbered, Bands]:
        """Objects as the model separates them in what each region saw, joined at the borders.

        windows   by region, the numbers (h, w) of all that it saw
        """
        one_class = CORE if separates_by_boundary(self.classes) else None
        numbering = Numbering(self.size, self.classes, by_class=False, one_class=one_class)
        raised_by: list[int] = []
        above: list[tuple[Region, Labels]] = []
        for band in self.cut.bands():
            row: list[tuple[Region, Labels]] = []
            for place, region in enumerate(band):
                window_hw = windows.read(region.number, _seen(region))
                own_hw = window_hw[region.inner]
                label_hw = labels.read(region.number, region.size)
                count = int(window_hw.max(initial=0))
                # Numbers that are seen beyond the border only have no pixels, and no object.
                raised = numbering.add(region.rows.start, region.columns.start, own_hw, label_hw)
                numbering.count = raised + count
                raised_by.append(raised)
                here = region, _raised(window_hw, raised)
                for other in [*row[-1:], *above[place : place + 1]]:
                    numbering.join(_joined(other, here))
                row.append(here)
            above = row
        found = numbering.finished(self.least_area, self.spacing)

        def numbers() -> Iterator[Labels]:
            for band in self.cut.bands():
                parts = [
                    _raised(windows.read(r.number, _seen(r))[r.inner], raised_by[r.number])
                    for r in band
                ]
                yield found.final_N[np.concatenate(parts, axis=1)]

        return found, numbers

    def _connected_stripes(self, bands: Bands) -> Iterator[tuple[Labels, Labels]]:
        """Labels and numbers, which go on from class to class."""
        rows = max(1, STRIPE // self.cut.width)
        for band_hW in bands():
            for top in range(0, len(band_hW), rows):
                label_hW = band_hW[top : top + rows]
                number_hW = np.zeros(label_hW.shape, np.int32)
                for label in np.unique(label_hW):
                    if label != self.background:
                        of_class_hW = connected(label_hW == label)
                        inside = of_class_hW > 0
                        number_hW[inside] = of_class_hW[inside] + number_hW.max()
                yield label_hW, number_hW


def numbers_seen(predictor: Predictor, found: Found, wanted: Wanted) -> NDArray[np.uint32]:
    """The numbers of what a region saw, as the model separates objects."""
    number_hw = found.numbers(predictor, wanted.background, wanted.least_area)
    if number_hw is None:
        objects = find_objects(found.label_HW, predictor.model.record.label_names)
        number_hw = numbered_map(objects, found.label_HW.shape).astype(np.int32)
    return number_hw.astype(np.uint32)


def write_numbers(
    file: Path,
    bands: Iterator[Labels],
    size: tuple[int, int],
    spacing: Spacing | None,
    count: int,
    name: str,
) -> None:
    """The objects' numbers as a TIFF, 16 bits where they suffice, else 32."""
    dtype = np.dtype(np.uint16 if count < 2**16 else np.uint32)
    numbers = (band_hW.astype(dtype) for band_hW in bands)
    write_tiff(file, [numbers], size, dtype, spacing=spacing, name=name)


def _joined(one: tuple[Region, Labels], other: tuple[Region, Labels]) -> NDArray[np.int64]:
    """Pairs of provisional numbers that two neighbouring regions give to one object."""
    (first, one_hw), (second, other_hw) = one, other
    if first.rows == second.rows:
        border, rows = second.columns.start, first.rows
        columns = slice(max(border - SEAM, second.left), min(border + SEAM, first.right))
    else:
        border, columns = second.rows.start, first.columns
        rows = slice(max(border - SEAM, second.top), min(border + SEAM, first.bottom))
    y_hw, x_hw = np.mgrid[rows, columns]
    own_hw = (x_hw if first.rows == second.rows else y_hw) < border
    parts = [
        window_hw[
            rows.start - region.top : rows.stop - region.top,
            columns.start - region.left : columns.stop - region.left,
        ]
        for region, window_hw in ((first, one_hw), (second, other_hw))
    ]
    return overlapping(parts[0], parts[1], own_hw)


def _raised(number_X: Labels, by: int) -> NDArray[np.int64]:
    """Provisional numbers; 0 stays 0."""
    number_X = number_X.astype(np.int64)
    return np.where(number_X > 0, number_X + by, 0)


def _seen(region: Region) -> tuple[int, int]:
    return region.bottom - region.top, region.right - region.left
