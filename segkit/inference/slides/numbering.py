"""Objects numbered over a whole large image from numbers of its parts, joined where parts meet.

A part's numbers go from 1; here they go on from part to part ("provisional"). What two parts say of
one object is a pair of provisional numbers, and what hangs together by pairs is one object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from segkit.data.files.spacing import Spacing
from segkit.inference.output import row_of_object

Ints = NDArray[np.int64]
Numbers = NDArray[np.integer]


@dataclass(frozen=True)
class Numbered:
    """The objects of a large image.

    rows     of objects.csv, without the image's name
    final_N  the number of each provisional number's object; 0 where it is left out, and for 0
    """

    rows: list[list[object]]
    final_N: NDArray[np.uint32]


class Numbering:
    """Takes part after part, and the pairs; `finished` once all are there.

    size      (H, W) of the image
    by_class  whether objects of the first class come first, as connected pixels are numbered; else
              all are in the order of their first pixels
    one_class that every object is of; None: the class that most of its pixels have
    """

    def __init__(
        self,
        size: tuple[int, int],
        classes: Sequence[str],
        *,
        by_class: bool,
        one_class: int | None = None,
    ) -> None:
        self.size, self.classes = size, classes
        self.by_class, self.one_class = by_class, one_class
        self.count = 0
        self._parts: list[dict[str, Ints]] = []
        self._pairs: list[Ints] = []

    def add(self, top: int, left: int, number_hw: Numbers, label_hw: Numbers) -> int:
        """Counts a part's pixels; returns what its numbers are raised by to be provisional.

        top, left   of its first pixel in the image
        number_hw   from 1, 0 for none; of numbers without a pixel here nothing comes
        """
        before, count = self.count, int(number_hw.max(initial=0))
        self.count += count
        place_N = np.flatnonzero(number_hw)
        if not len(place_N):
            return before
        number_N = number_hw.reshape(-1)[place_N].astype(np.int64) - 1
        y_N, x_N = np.divmod(place_N, number_hw.shape[1])
        y_N, x_N = y_N + top, x_N + left
        label_N = label_hw.reshape(-1)[place_N].astype(np.int64)
        here = np.unique(number_N)
        start = np.full((2, count), np.iinfo(np.int64).max)
        end = np.full((2, count), -1)
        for axis, at_N in enumerate((y_N, x_N)):
            np.minimum.at(start[axis], number_N, at_N)
            np.maximum.at(end[axis], number_N, at_N)
        first = np.full(count, np.iinfo(np.int64).max)
        np.minimum.at(first, number_N, y_N * self.size[1] + x_N)
        per_class = np.bincount(
            number_N * len(self.classes) + label_N, minlength=count * len(self.classes)
        ).reshape(count, -1)
        self._parts.append(
            {
                "number": here + before,
                "area": np.bincount(number_N, minlength=count)[here],
                "y": np.bincount(number_N, weights=y_N, minlength=count)[here].astype(np.int64),
                "x": np.bincount(number_N, weights=x_N, minlength=count)[here].astype(np.int64),
                **{f"start{axis}": start[axis][here] for axis in (0, 1)},
                **{f"end{axis}": end[axis][here] for axis in (0, 1)},
                "first": first[here],
                "of_class": per_class[here],
            }
        )
        return before

    def join(self, pairs_N2: Ints) -> None:
        """Provisional numbers, from 1, that are of one object."""
        if len(pairs_N2):
            self._pairs.append(np.unique(pairs_N2, axis=0) - 1)

    def finished(self, least_area: int, spacing: Spacing | None) -> Numbered:
        """Every object with its number, those of fewer pixels left out."""
        final_N = np.zeros(self.count + 1, np.uint32)
        if not self._parts:
            return Numbered([], final_N)
        parts = {name: np.concatenate([e[name] for e in self._parts]) for name in self._parts[0]}
        object_P = self._objects()[parts["number"]]
        _, object_P = np.unique(object_P, return_inverse=True)
        found = _summed(parts, object_P)
        label_N = found["of_class"].argmax(axis=1)
        if self.one_class is not None:
            label_N[:] = self.one_class
        order = np.lexsort((found["first"], label_N if self.by_class else 0 * label_N))
        order = order[found["area"][order] >= least_area]
        rank_N = np.zeros(len(label_N), np.uint32)
        rank_N[order] = np.arange(1, len(order) + 1)
        final_N[parts["number"] + 1] = rank_N[object_P]
        return Numbered([self._row(found, label_N, rank_N, i, spacing) for i in order], final_N)

    def _objects(self) -> Ints:
        """Of each provisional number less 1, which object it is of."""
        pairs = np.concatenate([np.zeros((0, 2), np.int64), *self._pairs])
        graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (self.count,) * 2)
        return np.asarray(connected_components(graph, directed=False)[1], np.int64)

    def _row(
        self,
        found: dict[str, Ints],
        label_N: Ints,
        rank_N: NDArray[np.uint32],
        index: int,
        spacing: Spacing | None,
    ) -> list[object]:
        top, left = int(found["start0"][index]), int(found["start1"][index])
        bottom, right = int(found["end0"][index]) + 1, int(found["end1"][index]) + 1
        area = int(found["area"][index])
        return row_of_object(
            number=int(rank_N[index]),
            name=self.classes[int(label_N[index])],
            label=int(label_N[index]),
            area=area,
            size=area * spacing.y * spacing.x if spacing else None,
            unit=f"{spacing.unit}\u00b2" if spacing else "",
            centre=(int(found["y"][index]) / area, int(found["x"][index]) / area),
            box=(top, left, bottom, right),
            at_border=top == 0 or left == 0 or bottom == self.size[0] or right == self.size[1],
        )


def touching(one_W: Numbers, other_W: Numbers, alike_W: Numbers, alike_other_W: Numbers) -> Ints:
    """Pairs of numbers in two neighbouring rows that touch at a side or a corner, (N, 2).

    alike_W   labels of the pixels: only those of one class make a pair
    """
    width, pairs = len(one_W), []
    for shift in (-1, 0, 1):
        mine, theirs = (
            slice(max(0, -shift), width - max(0, shift)),
            slice(max(0, shift), width - max(0, -shift)),
        )
        a, b = one_W[mine], other_W[theirs]
        meet = (a > 0) & (b > 0) & (alike_W[mine] == alike_other_W[theirs])
        pairs.append(np.stack([a[meet], b[meet]], axis=1).astype(np.int64))
    return np.unique(np.concatenate(pairs), axis=0)


def overlapping(one_hw: Numbers, other_hw: Numbers, own_hw: NDArray[np.bool_]) -> Ints:
    """Pairs of numbers that two parts give to one object where both see it, (N, 2).

    own_hw   where the first part's answer counts; elsewhere the second's does

    A pair has more than half of the smaller of the two in common, and reaches over the border.
    """
    one_N, other_N = one_hw.reshape(-1).astype(np.int64), other_hw.reshape(-1).astype(np.int64)
    own_N = own_hw.reshape(-1)
    both_N = (one_N > 0) & (other_N > 0)
    pairs, common = np.unique(
        np.stack([one_N[both_N], other_N[both_N]], axis=1), axis=0, return_counts=True
    )
    if not len(pairs):
        return pairs
    counts = [np.bincount(each, minlength=int(each.max()) + 1) for each in (one_N, other_N)]
    crosses = np.isin(pairs[:, 0], one_N[own_N]) & np.isin(pairs[:, 1], other_N[~own_N])
    smaller = np.minimum(counts[0][pairs[:, 0]], counts[1][pairs[:, 1]])
    return pairs[crosses & (2 * common > smaller)]


def _summed(parts: dict[str, Ints], object_P: Ints) -> dict[str, Ints]:
    """What belongs to one object, together."""
    count = int(object_P.max()) + 1
    found: dict[str, Ints] = {}
    for name, value_P in parts.items():
        if name in ("area", "y", "x", "of_class"):
            found[name] = np.zeros((count, *value_P.shape[1:]), np.int64)
            np.add.at(found[name], object_P, value_P)
        elif name.startswith("end"):
            found[name] = np.full(count, -1)
            np.maximum.at(found[name], object_P, value_P)
        else:
            found[name] = np.full(count, np.iinfo(np.int64).max)
            np.minimum.at(found[name], object_P, value_P)
    return found
