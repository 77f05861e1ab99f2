"""Outlines of a large image's objects, traced while the rows of their numbers go by.

An object is written as soon as its last row is there, and forgotten; the texts wait on disk until
all are there, to be put into the order of the numbers.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segkit.inference.objects import Box
from segkit.inference.outlines import GEOJSON, coco_annotation, feature
from segkit.inference.tracing import Ints, by_number, outlines, runs_of
from segkit.storage import new_file, storage_errors


class Outlining(AbstractContextManager["Outlining"]):
    """Takes the rows of numbers, from the top; then `write` makes the files.

    rows      of objects.csv, without the image's name, in the order of their numbers
    size      (H, W) of the image
    palette   an RGB colour per class
    scale     (y, x), what GeoJSON's coordinates are multiplied by
    geojson   where the outlines go; None: nowhere
    coco      where the annotations go, a line each; None: nowhere
    """

    def __init__(
        self,
        rows: Sequence[Sequence[object]],
        size: tuple[int, int],
        palette: Sequence[Sequence[int]],
        scale: tuple[float, float],
        geojson: Path | None,
        coco: Path | None,
    ) -> None:
        self.rows, self.size, self.palette, self.scale = rows, size, palette, scale
        self.geojson, self.coco = geojson, coco
        self._bottom_N = np.array([0, *(_measured(row).box[2] for row in rows)])
        self._top = 0
        # Of objects that go on below: the runs so far.
        self._open: dict[int, list[Ints]] = {}
        with ExitStack() as opened:
            self._features = geojson and opened.enter_context(_InOrder(geojson, len(rows)))
            self._annotations = coco and opened.enter_context(_InOrder(coco, len(rows)))
            self._opened = opened.pop_all()

    def __exit__(self, *raised: object) -> None:
        self._opened.close()

    def passing(self, bands: Iterator[NDArray[np.integer]]) -> Iterator[NDArray[np.integer]]:
        """The bands of numbers as they come, traced on their way."""
        for number_hW in bands:
            self.add(number_hW)
            yield number_hW

    def add(self, number_hW: NDArray[np.integer]) -> None:
        """Takes the next rows."""
        numbers, runs = by_number(*runs_of(number_hW, self._top))
        self._top += len(number_hW)
        ended: list[tuple[int, Ints]] = []
        for number, runs_N3 in zip(numbers, runs, strict=True):
            if self._bottom_N[number] > self._top:
                # A copy: the runs are a part of those of the whole band.
                self._open.setdefault(number, []).append(runs_N3.copy())
            else:
                ended.append((number, np.concatenate([*self._open.pop(number, []), runs_N3])))
        found = outlines([runs_N3 for _, runs_N3 in ended])
        for (number, _), outline in zip(ended, found, strict=True):
            each = _measured(self.rows[number - 1])
            if self._features:
                told = feature(each, outline, self.palette, self.scale)
                self._features.add(number, json.dumps(told))
            if self._annotations:
                self._annotations.add(
                    number, json.dumps(coco_annotation(each, outline, *self.size))
                )

    def write(self) -> None:
        """Writes the files, once all rows have been taken."""
        if self._features:
            self._features.write(*GEOJSON)
        if self._annotations:
            self._annotations.write("", "\n", "\n" if self.rows else "")


class _Measured(NamedTuple):
    """A row of objects.csv as outlines are told of it."""

    number: int
    name: str
    label: int
    area: int
    size: float | None
    unit: str
    box: Box


def _measured(row: Sequence[object]) -> _Measured:
    left, top, width, height = row[8:12]
    return _Measured(*row[:6], (top, left, top + height, left + width))  # type: ignore


class _InOrder(AbstractContextManager["_InOrder"]):
    """Texts that come in any order, for a file that has them in that of their numbers, from 1.

    They wait in a nameless file beside it, which a kill leaves nothing of.
    """

    def __init__(self, file: Path, count: int) -> None:
        self.file = file
        self._place_N2 = np.zeros((count + 1, 2), np.int64)
        with storage_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            self._held: IO[bytes] = tempfile.TemporaryFile(dir=file.parent)  # noqa: SIM115

    def __exit__(self, *raised: object) -> None:
        self._held.close()

    def add(self, number: int, text: str) -> None:
        content = text.encode()
        with storage_errors(self.file):
            self._place_N2[number] = self._held.tell(), len(content)
            self._held.write(content)

    def write(self, first: str, between: str, last: str) -> None:
        with (
            storage_errors(self.file),
            new_file(self.file) as work,
            work.open("wb") as out,
        ):
            out.write(first.encode())
            for number, (place, length) in enumerate(self._place_N2[1:].tolist()):
                self._held.seek(place)
                out.write(between.encode() * bool(number) + self._held.read(length))
            out.write(last.encode())
