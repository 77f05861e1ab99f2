"""Files of a large image whose regions are all done, written from what the regions have left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segkit.inference.predictor import Predictor
from segkit.inference.slides.given import GivenRegions
from segkit.inference.slides.objects import SlideObjects, write_numbers
from segkit.inference.slides.ome_zarr import SUFFIX as ZARR
from segkit.inference.slides.outlining import Outlining
from segkit.inference.slides.preview import preview
from segkit.inference.slides.regions import Cut, RegionReader
from segkit.inference.slides.store import Store
from segkit.inference.slides.wanted import Wanted
from segkit.inference.slides.writing import write_tiff
from segkit.inference.slides.zarr_writing import write_planes
from segkit.reporting.pictures import palette_for, write_picture
from segkit.reporting.sheets import explained
from segkit.storage import new_file, new_folder, storage_errors

# Side of the picture to look at, at most, pixels.
PREVIEW = 2048
Bands = Iterator[NDArray[np.integer]]


@dataclass(frozen=True)
class Finishing:
    """Writes what is wanted of one image, band by band."""

    path: Path
    wanted: Wanted
    store: Store
    cut: Cut
    given: GivenRegions
    predictor: Predictor

    @property
    def reader(self) -> RegionReader:
        return self.given.reader

    @property
    def size(self) -> tuple[int, int]:
        return self.cut.height, self.cut.width

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        record = self.predictor.model.record
        return palette_for(record.label_count, record.palette)

    def objects(self) -> list[list[object]]:
        """Writes numbers and outlines, as far as they are asked for; rows of objects.csv."""
        wanted, store, reader = self.wanted, self.store, self.reader
        if not wanted.counts_objects:
            return []
        names = self.predictor.model.record.label_names
        least_area = wanted.least_area or 1
        parts = SlideObjects(self.cut, names, wanted.background, least_area, reader.spacing)
        if store.windows is None:
            found, numbers = parts.connected(partial(store.labels.bands, self.cut))
        else:
            found, numbers = parts.separated(store.labels, store.windows)
        finest = reader.levels[0]
        scale = finest[0] / self.size[0], finest[1] / self.size[1]
        with ExitStack() as opened:
            bands = numbers()
            outlining = None
            if wanted.geojson or wanted.coco:
                outlining = opened.enter_context(
                    Outlining(
                        found.rows, self.size, self.palette, scale, wanted.geojson, wanted.coco
                    )
                )
                bands = outlining.passing(bands)
            if wanted.objects:
                self._numbers(wanted.objects, bands, len(found.rows))
            else:
                for _ in bands:
                    pass
            if outlining:
                outlining.write()
        return found.rows

    def mask(self) -> dict[str, float]:
        """Writes mask and overlay; the share of the pixels that each class has, by name."""
        record, labels = self.predictor.model.record, self.store.labels
        pixels_K = np.zeros(record.label_count, np.int64)
        factor = -(-max(self.size) // PREVIEW)
        small: list[NDArray[np.integer]] = []

        def bands() -> Bands:
            top = 0
            for band_HW in labels.bands(self.cut):
                nonlocal pixels_K
                pixels_K = pixels_K + np.bincount(band_HW.reshape(-1), minlength=len(pixels_K))
                first = -top % factor
                top += len(band_HW)
                small.append(band_HW[first::factor, ::factor].copy())
                yield band_HW

        self._mask(bands())
        if self.wanted.overlay is not None:
            self._overlay(self.wanted.overlay, np.concatenate(small), factor)
        total = max(int(pixels_K.sum()), 1)
        return {
            name: round(int(count) / total, 6)
            for name, count in zip(record.label_names, pixels_K, strict=True)
        }

    def maps(self) -> dict[str, dict[str, float]]:
        """Writes the maps; mean and 95th percentile of each that has one plane, by its kind."""
        for each in self.store.maps:
            each.write(self.cut, self.reader, self.path.name)
        one_plane = [each for each in self.store.maps if each.of_doubt]
        return {each.kind: each.mean_and_high(self.cut) for each in one_plane}

    def _numbers(self, file: Path, bands: Bands, count: int) -> None:
        with storage_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            with new_file(file) as work:
                write_numbers(work, bands, self.size, self.reader.spacing, count, self.path.name)

    def _mask(self, bands: Bands) -> None:
        mask, spacing, dtype = self.wanted.mask, self.reader.spacing, self.store.labels.dtype
        with storage_errors(mask):
            if mask.suffix == ZARR:
                version = getattr(self.reader, "version", 3)
                with new_folder(mask) as folder:
                    write_planes(
                        folder,
                        [bands],
                        self.size,
                        dtype,
                        spacing=spacing,
                        version=version,
                        labels=True,
                    )
            else:
                palette = self.palette if dtype == np.uint8 else ()
                with new_file(mask) as file:
                    write_tiff(
                        file,
                        [bands],
                        self.size,
                        dtype,
                        palette=palette,
                        spacing=spacing,
                        name=self.path.name,
                    )

    def _overlay(self, overlay: Path, label_hw: NDArray[np.integer], factor: int) -> None:
        # Both are of the same pixels: the mean of a square, and the class of its first one.
        record = self.predictor.model.record
        drawn_hwC = explained(
            preview(self.given, self.reader.shape[:2], factor),
            label_hw,
            self.palette,
            tuple(record.label_names),
            background=record.background,
        )
        with storage_errors(overlay):
            overlay.parent.mkdir(parents=True, exist_ok=True)
            with new_file(overlay, durable=False) as work:
                write_picture(work, drawn_hwC)
