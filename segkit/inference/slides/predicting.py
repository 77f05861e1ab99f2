"""A large image predicted region by region: what a stop leaves is gone on from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.data.files.reading import recorded_reading
from segkit.data.intensity import Intensity
from segkit.inference.certainty import Ways, answer
from segkit.inference.predictor import Predictor
from segkit.inference.slides import ome_zarr
from segkit.inference.slides.given import GivenRegions, given_regions
from segkit.inference.slides.kept import SUFFIX, KeptRegions
from segkit.inference.slides.opening import open_regions
from segkit.inference.slides.regions import Cut, Region, RegionReader
from segkit.inference.slides.writing import write_tiff
from segkit.model.ensemble import Ensemble
from segkit.reporting.pictures import Picture, palette_for, write_picture
from segkit.reporting.sheets import explained
from segkit.storage import new_file, new_folder, storage_errors

TILE, OVERLAP = 1024, 0.25
# Side of the picture to look at, at most, pixels.
PREVIEW = 2048
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
    """

    size: tuple[int, int]
    pixel_size: Sequence[float] | None
    unit: str
    shares: dict[str, float]


class Slide:
    """One large image with its mask: `predict` until it is done, then `finish`."""

    def __init__(self, path: Path, mask: Path, overlay: Path | None) -> None:
        self.path, self.mask, self.overlay = path, mask, overlay
        self.kept_file = mask.with_name(mask.name + SUFFIX)

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
            try:
                for region, label_HW in self._answers(predictor, given, cut, settings, kept):
                    kept.add(region.number, label_HW)
                    progress(len(kept), cut.count)
                return self._write(kept, cut, given, reader, predictor)
            finally:
                kept.close()

    def finish(self) -> None:
        """Removes what a stop would have been gone on from."""
        self.kept_file.unlink(missing_ok=True)

    def _answers(
        self,
        predictor: Predictor,
        given: GivenRegions,
        cut: Cut,
        settings: RegionSettings,
        kept: KeptRegions,
    ) -> Iterator[tuple[Region, NDArray[np.integer]]]:
        for band in cut.bands():
            for group in _alike(band, 1 if settings.ways.several else settings.batch):
                # The same regions are computed together after a stop, so that rounding is the same.
                if all(region.number in kept for region in group):
                    continue
                images = [given(region) for region in group]
                if settings.ways.several:
                    found = [answer(predictor, images[0], settings.ways).label_HW]
                else:
                    pixels = [each.pixels for each in images]
                    found = predictor.label_maps(pixels, images[0].full_scale)
                for region, label_HW in zip(group, found, strict=True):
                    yield region, label_HW[region.inner]

    def _write(
        self,
        kept: KeptRegions,
        cut: Cut,
        given: GivenRegions,
        reader: RegionReader,
        predictor: Predictor,
    ) -> SlideLabels:
        record = predictor.model.record
        palette = palette_for(record.label_count, record.palette)
        size = cut.height, cut.width
        pixels_K = np.zeros(record.label_count, np.int64)
        factor = -(-max(size) // PREVIEW)
        small: list[NDArray[np.integer]] = []

        def bands() -> Iterator[NDArray[np.integer]]:
            for band in cut.bands():
                row = [kept.read(each.number, each.size) for each in band]
                band_HW = np.concatenate(row, axis=1)
                nonlocal pixels_K
                pixels_K = pixels_K + np.bincount(band_HW.reshape(-1), minlength=len(pixels_K))
                first = -band[0].rows.start % factor
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
                    write_tiff(
                        file,
                        bands(),
                        size,
                        kept.dtype,
                        palette=palette,
                        spacing=reader.spacing,
                        name=self.path.name,
                    )
        if self.overlay is not None:
            picture_HWC = preview(given, size, factor)
            names = tuple(record.label_names)
            # Both are of the same pixels: the mean of a square, and the class of its first one.
            drawn_HWC = explained(picture_HWC, np.concatenate(small), palette, names)
            with storage_errors(self.overlay):
                self.overlay.parent.mkdir(parents=True, exist_ok=True)
                with new_file(self.overlay, durable=False) as work:
                    write_picture(work, drawn_HWC)
        total = max(int(pixels_K.sum()), 1)
        shares = {
            name: round(int(count) / total, 6)
            for name, count in zip(record.label_names, pixels_K, strict=True)
        }
        spacing = reader.spacing
        pixel_size = [spacing.y, spacing.x] if spacing else None
        return SlideLabels(size, pixel_size, spacing.unit if spacing else "", shares)


def preview(given: GivenRegions, size: tuple[int, int], factor: int) -> Picture:
    """The image `factor` times smaller, (h, w, 3) uint8, read part by part: means of squares."""
    height, width = size
    side = 512 // factor * factor or factor
    rows = []
    for top in range(0, height, side):
        row = []
        for left in range(0, width, side):
            part = given.part(
                slice(top, min(top + side, height)), slice(left, min(left + side, width))
            )
            image_hwC = part.pixels.astype(np.float32) * (255 / part.full_scale)
            h, w = (-(-length // factor) for length in image_hwC.shape[:2])
            missing = (h * factor - image_hwC.shape[0], w * factor - image_hwC.shape[1])
            filled_hwC = np.pad(image_hwC, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
            small_hwC = filled_hwC.reshape(h, factor, w, factor, -1).mean(axis=(1, 3))
            row.append(np.clip(np.rint(small_hwC), 0, 255).astype(np.uint8))
        rows.append(np.concatenate(row, axis=1))
    image_HWC: Picture = np.concatenate(rows)
    if image_HWC.shape[2] == 3:
        return image_HWC
    return np.repeat(image_HWC[..., :1], 3, axis=2)


def stride_of(predictor: Predictor) -> int:
    """A multiple of every stride of the network."""
    model = predictor.model
    encoders = [
        getattr(each, "encoder", None)
        for each in (model.networks if isinstance(model, Ensemble) else (model,))
    ]
    return max(16, *(int(each.strides[-1]) if each else USUAL_STRIDE for each in encoders))


def _alike(band: Sequence[Region], most: int) -> Iterator[list[Region]]:
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
