"""A large image predicted region by region: what a stop leaves is gone on from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
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
from segkit.inference.slides.finishing import Finishing
from segkit.inference.slides.given import GivenRegions, given_regions
from segkit.inference.slides.objects import numbers_seen
from segkit.inference.slides.opening import open_regions
from segkit.inference.slides.regions import Cut, Region, alike
from segkit.inference.slides.store import Store, remove_kept
from segkit.inference.slides.wanted import Wanted

TILE, OVERLAP = 1024, 0.25
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
    doubt      mean and p95 (95th percentile) over its pixels by the kind of the map, 0 to 1
    """

    size: tuple[int, int]
    pixel_size: Sequence[float] | None
    unit: str
    shares: dict[str, float]
    objects: list[list[object]]
    doubt: dict[str, dict[str, float]]


class Slide:
    """One large image with its results: `predict` until it is done, then `finish`."""

    def __init__(self, path: Path, wanted: Wanted) -> None:
        self.path, self.wanted = path, wanted

    def predict(
        self,
        predictor: Predictor,
        settings: RegionSettings,
        conditions: dict[str, Any],
        progress: Callable[[int, int], None] = lambda done, regions: None,
    ) -> SlideLabels:
        """Labels every region that is not done yet, and writes all that is wanted.

        conditions   the regions that a stop has left count where these are what they were
        progress     called with (regions done, regions)

        Raises DataError (unreadable, SK-D011, SK-D016, SK-D034, SK-D045), StorageError.
        """
        with closing(open_regions(self.path, settings.level)) as reader:
            record = predictor.model.record
            reading = recorded_reading(record.training)
            given = given_regions(reader, self.path, record, reading, settings.intensity)
            height, width = reader.shape[:2]
            cut = Cut(height, width, settings.tile, settings.overlap, stride_of(predictor))
            asked = {**conditions, "shape": reader.shape, "step": cut.step, "margin": cut.margin}
            with closing(
                Store(self.wanted, asked, record, separating=separates(predictor))
            ) as store:
                for region, label_hw in self._answers(predictor, given, cut, settings, store):
                    store.labels.add(region.number, label_hw)
                    progress(len(store.labels), cut.count)
                    if region.number % GIVEN_BACK == 0:
                        give_back_freed_memory()
                finishing = Finishing(self.path, self.wanted, store, cut, given, predictor)
                rows = finishing.objects()
                doubt = finishing.maps()
                shares = finishing.mask()
            spacing = reader.spacing
            pixel_size = [spacing.y, spacing.x] if spacing else None
            unit = spacing.unit if spacing else ""
            return SlideLabels((height, width), pixel_size, unit, shares, rows, doubt)

    def finish(self) -> None:
        """Removes what a stop would have been gone on from."""
        remove_kept(self.wanted.mask)

    def _answers(
        self,
        predictor: Predictor,
        given: GivenRegions,
        cut: Cut,
        settings: RegionSettings,
        store: Store,
    ) -> Iterator[tuple[Region, NDArray[np.integer]]]:
        """Labels of every region that is not done; what else is wanted of it goes to the store."""
        certain = settings.ways.several or bool(store.maps)
        alone = certain or store.windows is not None
        for band in cut.bands():
            for group in alike(band, 1 if alone else settings.batch):
                # The same regions are computed together after a stop, so that rounding is the same.
                if all(store.holds(region.number) for region in group):
                    continue
                images = [given(region) for region in group]
                scale, pixels = images[0].full_scale, [each.pixels for each in images]
                found: list[NDArray[np.integer]] | None = None
                if certain:
                    said = answer(predictor, images[0], settings.ways)
                    found = [said.label_HW]
                    for each in store.maps:
                        each.add(group[0], said)
                if store.windows is not None:
                    known_HW = found[0] if found else None
                    told = find(predictor, pixels[0], scale, label_HW=known_HW)
                    numbers = numbers_seen(predictor, told, self.wanted)
                    store.windows.add(group[0].number, numbers)
                    found = [told.label_HW]
                if found is None:
                    found = predictor.label_maps(pixels, scale)
                for region, label_HW in zip(group, found, strict=True):
                    yield region, label_HW[region.inner]


def stride_of(predictor: Predictor) -> int:
    """A multiple of every stride of the network."""
    model = predictor.model
    encoders = [getattr(each, "encoder", None) for each in getattr(model, "networks", [model])]
    return max(16, *(int(each.strides[-1]) if each else USUAL_STRIDE for each in encoders))
