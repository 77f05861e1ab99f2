"""The outline of an object, traced from the runs of its rows: it is never held as a picture.

What this takes is in proportion to the outline's length, so that an object may be as large as a
slide. Pixels that touch at a corner only are on two rings, and so is a ring that would touch
itself: no ring visits a point twice, as GeoJSON's readers want it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ints = NDArray[np.int64]
Point = tuple[int, int]
Ring = list[Point]


def runs_of(number_hW: NDArray[np.integer] | NDArray[np.bool_], top: int = 0) -> tuple[Ints, Ints]:
    """Pixels of one number that follow each other in a row: (the numbers (N), the runs (N, 3)).

    number_hW   rows of object numbers, 0 for none
    top         the place of the first row in the image
    A run is (row, first column, first column beyond it); they come row by row, from the left.
    """
    padded_hW = np.pad(number_hW, ((0, 0), (1, 1)))
    # Where a pixel differs from the one before it; after the last such place of a row all is 0.
    y_N, x_N = np.nonzero(padded_hW[:, 1:] != padded_hW[:, :-1])
    number_N = padded_hW[y_N, x_N + 1].astype(np.int64)
    held_N = np.flatnonzero(number_N)
    runs_N3 = np.stack([y_N[held_N] + top, x_N[held_N], x_N[held_N + 1]], axis=1)
    return number_N[held_N], runs_N3.astype(np.int64)


def by_number(number_N: Ints, runs_N3: Ints) -> tuple[list[int], list[Ints]]:
    """(each number, its runs in order)."""
    order = np.argsort(number_N, kind="stable")
    numbers, first = np.unique(number_N[order], return_index=True)
    # Split at the start too: of no runs there is no object, and not one without pixels.
    return numbers.tolist(), np.split(runs_N3[order], first)[1:]


@dataclass(frozen=True)
class Outline:
    """The outline of one object: its level edges, from the top and from the left, (E) each.

    line         of the pixels' grid, 0 being above the image's first row
    left, right  columns of the grid where an edge ends
    lower        whether the object lies below the edge
    after        which edge each edge leads to, along the upright edge at its end
    runs_N3      what it was traced from
    """

    line: Ints
    left: Ints
    right: Ints
    lower: NDArray[np.bool_]
    after: Ints
    runs_N3: Ints

    def polygons(self) -> list[list[Ring]]:
        """Each an outer ring and its holes; rings do not repeat their first point.

        Points are (x, y) on the pixels' grid, y downwards; the object lies on the right hand of one
        who walks along a ring.
        """
        rings = self._rings()
        if len(rings) == 1:
            return [[rings[0][0]]]
        areas = [doubled_area(ring) for ring, _ in rings]
        outer = [each for each, area in zip(rings, areas, strict=True) if area > 0]
        holes = [each for each, area in zip(rings, areas, strict=True) if area < 0]
        parts = [[ring] for ring, _ in outer]
        if len(outer) == 1:
            return [[*parts[0], *(ring for ring, _ in holes)]]
        piece_E = self._pieces()
        # A piece, whose pixels touch at their sides, has one outer ring.
        place_of = {int(piece_E[edge]): place for place, (_, edge) in enumerate(outer)}
        for ring, edge in holes:
            parts[place_of[int(piece_E[edge])]].append(ring)
        return parts

    def run_lengths(self, height: int, width: int) -> Ints:
        """Lengths of what is not the object and of what is in turns, down the columns of an image
        of this size, as COCO has them; the first may be 0."""
        start_N, end_N = (self._places(which, height) for which in (self.lower, ~self.lower))
        # What reaches the foot of a column goes on at the head of the next.
        apart = start_N[1:] != end_N[:-1]
        if not apart.all():
            start_N = start_N[np.concatenate([[True], apart])]
            end_N = end_N[np.concatenate([apart, [True]])]
        turns = np.stack([start_N, end_N], axis=1).reshape(-1)
        return np.diff(turns, prepend=0, append=height * width)

    def _places(self, which: NDArray[np.bool_], height: int) -> Ints:
        """Pixels below some edges, counted down the columns, in order."""
        line, left, length = self.line[which], self.left[which], (self.right - self.left)[which]
        before = np.cumsum(length) - length
        x = np.arange(length.sum()) + np.repeat(left - before, length)
        return np.sort(x * height + np.repeat(line, length))

    def _rings(self) -> list[tuple[Ring, int]]:
        """(ring, the number of one of its edges) of all rings."""
        after, line = self.after.tolist(), self.line.tolist()
        begin = np.where(self.lower, self.left, self.right).tolist()
        end = np.where(self.lower, self.right, self.left).tolist()
        waits = [True] * len(after)
        rings: list[tuple[Ring, int]] = []
        for first in range(len(after)):
            path: Ring = []
            place = first
            while waits[place]:
                waits[place] = False
                path += [(begin[place], line[place]), (end[place], line[place])]
                place = after[place]
            if path:
                simple = len(set(path)) == len(path)
                rings += [(ring, first) for ring in ([path] if simple else _apart(path))]
        return rings

    def _pieces(self) -> Ints:
        """Which group of pixels that touch at their sides each edge belongs to."""
        y_N, start_N, end_N = self.runs_N3.T
        row = int(end_N.max()) + 1
        first_N, last_N = y_N * row + start_N, y_N * row + end_N
        # Runs of the next row that share a column.
        from_N = np.searchsorted(last_N, first_N + row, side="right")
        count_N = np.maximum(np.searchsorted(first_N, last_N + row, side="left") - from_N, 0)
        upper = np.repeat(np.arange(len(y_N)), count_N)
        before_N = np.cumsum(count_N) - count_N
        lower = np.arange(count_N.sum()) + np.repeat(from_N - before_N, count_N)
        graph = coo_array((np.ones(len(upper)), (upper, lower)), (len(y_N),) * 2)
        piece_N = connected_components(graph, directed=False)[1]
        place_E = (self.line - ~self.lower) * row + self.left
        return np.asarray(piece_N[np.searchsorted(first_N, place_E, side="right") - 1], np.int64)


def outlines(objects: Sequence[Ints]) -> list[Outline]:
    """The outline of each object from its runs, row by row from the top: of all at once, as if they
    lay one below the other."""
    if not objects:
        return []
    apart = max(int(runs_N3[-1, 0]) for runs_N3 in objects) + 2
    stacked_N3 = np.concatenate(objects)
    stacked_N3[:, 0] += apart * np.repeat(np.arange(len(objects)), [len(each) for each in objects])
    line, left, right, lower = _edges(stacked_N3)
    after = _following(line, left, right, lower)
    object_E = line // apart
    ends = np.searchsorted(object_E, np.arange(len(objects) + 1)).tolist()
    line = line - object_E * apart
    return [
        Outline(line[a:b], left[a:b], right[a:b], lower[a:b], after[a:b] - a, runs_N3)
        for a, b, runs_N3 in zip(ends, ends[1:], objects, strict=False)
    ]


def _edges(runs_N3: Ints) -> tuple[Ints, Ints, Ints, NDArray[np.bool_]]:
    """line, left, right and lower, as an `Outline` has them."""
    y_N, start_N, end_N = runs_N3.T
    one_N, none_N = np.ones(len(y_N), np.int64), np.zeros(len(y_N), np.int64)
    # Each end of a run is one of the line above its row and of the line below.
    line = np.concatenate([y_N, y_N, y_N + 1, y_N + 1])
    x = np.concatenate([start_N, end_N, start_N, end_N])
    order = np.lexsort((x, line))
    line, x = line[order], x[order]
    below = np.cumsum(np.concatenate([one_N, -one_N, none_N, none_N])[order])
    above = np.cumsum(np.concatenate([none_N, none_N, one_N, -one_N])[order])
    is_edge = (below != above)[:-1] & (x[:-1] < x[1:])
    return line[:-1][is_edge], x[:-1][is_edge], x[1:][is_edge], below[:-1][is_edge] > 0


def _following(line: Ints, left: Ints, right: Ints, lower: NDArray[np.bool_]) -> Ints:
    """Which edge each edge leads to."""
    count = len(line)
    x = np.concatenate([np.where(lower, left, right), np.where(lower, right, left)])
    # Of two corners at one place the edge above the line is joined upwards, the other downwards:
    # so both stay with their own pixel.
    pairs_P2 = np.lexsort((np.tile(lower, 2), np.tile(line, 2), x)).reshape(-1, 2)
    is_end_P2 = pairs_P2 >= count
    after = np.empty(count, np.int64)
    after[pairs_P2[is_end_P2] - count] = pairs_P2[~is_end_P2]
    return after


def doubled_area(ring: Ring) -> int:
    """Twice the area that a ring holds, below 0 for a hole."""
    return sum(x * v - u * y for (x, y), (u, v) in zip(ring, [*ring[1:], ring[0]], strict=True))


def _apart(path: Ring) -> list[Ring]:
    """A ring cut where it touches itself."""
    rings: list[Ring] = []
    held: Ring = []
    place_of: dict[Point, int] = {}
    for point in path:
        if point in place_of:
            at = place_of[point]
            rings.append(held[at:])
            for each in held[at + 1 :]:
                del place_of[each]
            del held[at + 1 :]
        else:
            place_of[point] = len(held)
            held.append(point)
    return [*rings, held]
