"""A large image predicted region by region: what a stop leaves is gone on from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.cpu.allocator import give_back_freed_memory
from segkit.data.files.reading import recorded_reading
from segkit.data.intensity import Intensity
from segkit.inference.certainty import Ways, answer
from segkit.inference.predictor import Predictor
from segkit.inference.separated import find, separates
from segkit.inference.slides import ome_zarr
from segkit.inference.slides.given import GivenRegions, given_regions
from segkit.inference.slides.kept import SUFFIX, KeptRegions
from segkit.inference.slides.objects import SlideObjects, numbers_seen, write_numbers
from segkit.inference.slides.opening import open_regions
from segkit.inference.slides.preview import preview
from segkit.inference.slides.regions import Cut, Region, RegionReader, alike
from segkit.inference.slides.writing import write_tiff
from segkit.model.network import ModelRecord
from segkit.reporting.pictures import palette_for, write_picture
from segkit.reporting.sheets import explained
from segkit.storage import new_file, new_folder, storage_errors

TILE, OVERLAP = 1024, 0.25
# Side of the picture to look at, at most, pixels.
PREVIEW = 2048
# Regions after which freed memory is given back to the system.
GIVEN_BACK = 16
# Of networks that do not tell their strides.
USUAL_STRIDE = 32


@dataclass(frozen=True)
class RegionSettings:
    """How large images are predicted.

    tile       side of what the network sees at a time, pixels
    overlap    share of the tile that neighbours have in common
    level      of the pyramid, 0 being the finest
    batch      regions computed together
    ways       in how many ways the model is asked about each region
    intensity  which stored values are black and white; None: as recorded with the model
    """

    tile: int = TILE
    overlap: float = OVERLAP
    level: int = 0
    batch: int = 1
    ways: Ways = Ways()  # noqa: RUF009  (frozen)
    intensity: Intensity | None = None


@dataclass(frozen=True)
class SlideLabels:
    """What was written of one large image.

    size       (H, W)
    spacing    (height, width) of a pixel, and its unit; None and "" where the file does not say
    shares     of its pixels, by class name
    objects    rows of objects.csv, without the image's name; none where none are asked for
    """

    size: tuple[int, int]
    pixel_size: Sequence[float] | None
    unit: str
    shares: dict[str, float]
    objects: list[list[object]]


@dataclass(frozen=True)
class WantedObjects:
    """Where the numbers of a large image's objects go, and which of them.

    background   the label of what is no object
    least_area   smaller ones are left out, pixels
    """

    file: Path
    background: int
    least_area: int


class Slide:
    """One large image with its mask: `predict` until it is done, then `finish`."""

    def __init__(
        self, path: Path, mask: Path, overlay: Path | None, objects: WantedObjects | None = None
    ) -> None:
        self.path, self.mask, self.overlay, self.objects = path, mask, overlay, objects
        self.kept_file = mask.with_name(mask.name + SUFFIX)
        self.numbers_file = mask.with_name(f"{mask.name}.objects{SUFFIX}")

    def predict(
        self,
        predictor: Predictor,
        settings: RegionSettings,
        conditions: dict[str, Any],
        progress: Callable[[int, int], None] = lambda done, regions: None,
    ) -> SlideLabels:
        """Labels every region that is not done yet, and writes mask and overlay.

        conditions   the regions that a stop has left count where these are what they were
        progress     called with (regions done, regions)

        Raises DataError (unreadable, SK-D011, SK-D016, SK-D034, SK-D045), StorageError.
        """
        with closing(open_regions(self.path, settings.level)) as reader:
            record = predictor.model.record
            reading = recorded_reading(record.training)
            given = given_regions(reader, self.path, record, reading, settings.intensity)
            height, width = reader.shape[:2]
            stride = stride_of(predictor)
            cut = Cut(height, width, settings.tile, settings.overlap, stride)
            dtype = np.dtype(np.uint8 if record.label_count <= 256 else np.uint16)
            asked = {**conditions, "shape": reader.shape, "step": cut.step, "margin": cut.margin}
            kept = KeptRegions(self.kept_file, asked, dtype)
            windows = None
            if self.objects is not None and separates(predictor):
                windows = KeptRegions(self.numbers_file, asked, np.dtype(np.uint32))
            try:
                answers = self._answers(predictor, given, cut, settings, kept, windows)
                for region, label_HW in answers:
                    kept.add(region.number, label_HW)
                    progress(len(kept), cut.count)
                    if region.number % GIVEN_BACK == 0:
                        give_back_freed_memory()
                rows = self._write_objects(kept, windows, cut, reader, predictor)
                return self._write(kept, cut, given, reader, predictor, rows)
            finally:
                kept.close()
                if windows is not None:
                    windows.close()

    def finish(self) -> None:
        """Removes what a stop would have been gone on from."""
        self.kept_file.unlink(missing_ok=True)
        self.numbers_file.unlink(missing_ok=True)

    def _answers(
        self,
        predictor: Predictor,
        given: GivenRegions,
        cut: Cut,
        settings: RegionSettings,
        kept: KeptRegions,
        windows: KeptRegions | None,
    ) -> Iterator[tuple[Region, NDArray[np.integer]]]:
        for band in cut.bands():
            alone = settings.ways.several or windows is not None
            for group in alike(band, 1 if alone else settings.batch):
                # The same regions are computed together after a stop, so that rounding is the same.
                both = (kept,) if windows is None else (kept, windows)
                if all(region.number in each for region in group for each in both):
                    continue
                images = [given(region) for region in group]
                found: list[NDArray[np.integer]]
                if settings.ways.several:
                    found = [answer(predictor, images[0], settings.ways).label_HW]
                elif windows is None:
                    pixels = [each.pixels for each in images]
                    found = predictor.label_maps(pixels, images[0].full_scale)
                if windows is not None and self.objects is not None:
                    label_HW = found[0] if settings.ways.several else None
                    image = images[0]
                    told = find(predictor, image.pixels, image.full_scale, label_HW=label_HW)
                    numbers = numbers_seen(predictor, told, self.objects.background)
                    windows.add(group[0].number, numbers)
                    found = [told.label_HW]
                for region, label_HW in zip(group, found, strict=True):
                    yield region, label_HW[region.inner]

    def _write(
        self,
        kept: KeptRegions,
        cut: Cut,
        given: GivenRegions,
        reader: RegionReader,
        predictor: Predictor,
        rows: list[list[object]],
    ) -> SlideLabels:
        record = predictor.model.record
        palette = palette_for(record.label_count, record.palette)
        size = cut.height, cut.width
        pixels_K = np.zeros(record.label_count, np.int64)
        factor = -(-max(size) // PREVIEW)
        small: list[NDArray[np.integer]] = []

        def bands() -> Iterator[NDArray[np.integer]]:
            top = 0
            for band_HW in kept.bands(cut):
                nonlocal pixels_K
                pixels_K = pixels_K + np.bincount(band_HW.reshape(-1), minlength=len(pixels_K))
                first = -top % factor
                top += len(band_HW)
                small.append(band_HW[first::factor, ::factor].copy())
                yield band_HW

        with storage_errors(self.mask):
            if self.mask.suffix == ome_zarr.SUFFIX:
                version = getattr(reader, "version", 3)
                with new_folder(self.mask) as folder:
                    ome_zarr.write_labels(
                        folder, bands(), size, kept.dtype, spacing=reader.spacing, version=version
                    )
            else:
                with new_file(self.mask) as file:
                    spacing, name = reader.spacing, self.path.name
                    write_tiff(
                        file, bands(), size, kept.dtype, palette=palette, spacing=spacing, name=name
                    )
        if self.overlay is not None:
            self._write_overlay(self.overlay, given, np.concatenate(small), factor, record)
        total = max(int(pixels_K.sum()), 1)
        shares = {
            name: round(int(count) / total, 6)
            for name, count in zip(record.label_names, pixels_K, strict=True)
        }
        spacing = reader.spacing
        pixel_size = [spacing.y, spacing.x] if spacing else None
        return SlideLabels(size, pixel_size, spacing.unit if spacing else "", shares, rows)

    def _write_overlay(
        self,
        overlay: Path,
        given: GivenRegions,
        label_hw: NDArray[np.integer],
        factor: int,
        record: ModelRecord,
    ) -> None:
        picture_hwC = preview(given, given.reader.shape[:2], factor)
        # Both are of the same pixels: the mean of a square, and the class of its first one.
        drawn_hwC = explained(
            picture_hwC,
            label_hw,
            palette_for(record.label_count, record.palette),
            tuple(record.label_names),
            background=record.background,
        )
        with storage_errors(overlay):
            overlay.parent.mkdir(parents=True, exist_ok=True)
            with new_file(overlay, durable=False) as work:
                write_picture(work, drawn_hwC)

    def _write_objects(
        self,
        kept: KeptRegions,
        windows: KeptRegions | None,
        cut: Cut,
        reader: RegionReader,
        predictor: Predictor,
    ) -> list[list[object]]:
        """Writes the numbers of the objects, where they are asked for; rows of objects.csv."""
        if self.objects is None:
            return []
        names, asked = predictor.model.record.label_names, self.objects
        parts = SlideObjects(cut, names, asked.background, asked.least_area, reader.spacing)
        if windows is None:
            found, numbers = parts.connected(partial(kept.bands, cut))
        else:
            found, numbers = parts.separated(kept, windows)
        with storage_errors(asked.file):
            asked.file.parent.mkdir(parents=True, exist_ok=True)
            with new_file(asked.file) as file:
                write_numbers(
                    file, numbers(), parts.size, reader.spacing, len(found.rows), self.path.name
                )
        return found.rows


def stride_of(predictor: Predictor) -> int:
    """A multiple of every stride of the network."""
    model = predictor.model
    encoders = [getattr(each, "encoder", None) for each in getattr(model, "networks", [model])]
    return max(16, *(int(each.strides[-1]) if each else USUAL_STRIDE for each in encoders))
