"""Maps of numbers over a large image: every class's probability, and the doubt of each pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.inference.certainty import Answer, entropy
from segkit.inference.slides.kept import KeptRegions
from segkit.inference.slides.ome_zarr import SUFFIX as ZARR
from segkit.inference.slides.regions import Cut, Region, RegionReader
from segkit.inference.slides.writing import write_tiff
from segkit.inference.slides.zarr_writing import write_planes
from segkit.storage import new_file, new_folder, storage_errors

PROBABILITIES, UNCERTAINTY, MUTUAL = "probabilities", "uncertainty", "mutual-information"
# What counts as 1. A probability needs no more; doubt, most of it small, is summed up besides.
WHITE = {PROBABILITIES: 255, UNCERTAINTY: 65535, MUTUAL: 65535}
SAYS = {
    PROBABILITIES: "the probability of each class, 255 being 1",
    UNCERTAINTY: "the entropy of the classes, 65535 where all have the same probability",
    MUTUAL: "the mutual information of class and answer, 65535 being the most there can be",
}


def type_of(kind: str) -> np.dtype[Any]:
    return np.dtype(np.uint8 if WHITE[kind] == 255 else np.uint16)


@dataclass(frozen=True)
class KeptMap:
    """One kind of map: the file it will be, and what the regions that are done have left of it.

    channels   names of its planes; one without a name where it has one only
    """

    kind: str
    file: Path
    channels: Sequence[str]
    kept: KeptRegions

    @property
    def of_doubt(self) -> bool:
        return self.kind != PROBABILITIES

    def __contains__(self, number: int) -> bool:
        return number * len(self.channels) + len(self.channels) - 1 in self.kept

    def add(self, region: Region, said: Answer) -> None:
        """Takes a region's part of what the model says of all that was seen."""
        value_Chw = said.probability_KHW[:, *region.inner]
        if self.kind == UNCERTAINTY:
            value_Chw = entropy(value_Chw)[None]
        elif self.kind == MUTUAL:
            if said.mutual_HW is None:
                raise ValueError("one answer has no mutual information")
            value_Chw = said.mutual_HW[None, *region.inner]
        for channel, value_hw in enumerate(value_Chw):
            whole_hw = np.rint(value_hw * WHITE[self.kind])
            self.kept.add(region.number * len(self.channels) + channel, whole_hw)

    def bands(self, cut: Cut, channel: int = 0) -> Iterator[NDArray[np.integer]]:
        """Rows of one plane (h, W), from the top, of regions that are all done."""
        return self.kept.bands(cut, lambda number: number * len(self.channels) + channel)

    def write(self, cut: Cut, reader: RegionReader, name: str) -> None:
        """Writes the file: OME-TIFF or OME-Zarr, by its suffix."""
        planes = [self.bands(cut, channel) for channel in range(len(self.channels))]
        size, dtype = (cut.height, cut.width), type_of(self.kind)
        channels = self.channels if self.kind == PROBABILITIES else ()
        with storage_errors(self.file):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            if self.file.suffix == ZARR:
                version = getattr(reader, "version", 3)
                with new_folder(self.file) as folder:
                    spacing = reader.spacing
                    write_planes(
                        folder, planes, size, dtype, channels, spacing=spacing, version=version
                    )
            else:
                with new_file(self.file) as file:
                    write_tiff(
                        file,
                        planes,
                        size,
                        dtype,
                        spacing=reader.spacing,
                        name=name,
                        channels=channels,
                        description=SAYS[self.kind],
                    )

    def mean_and_high(self, cut: Cut) -> dict[str, float]:
        """Mean and 95th percentile over the image's pixels, 0 to 1."""
        white = WHITE[self.kind]
        pixels_V = np.zeros(white + 1, np.int64)
        for band_hW in self.bands(cut):
            pixels_V += np.bincount(band_hW.reshape(-1), minlength=white + 1)
        total, up_to_V = int(pixels_V.sum()), np.cumsum(pixels_V)
        mean = float((pixels_V * np.arange(white + 1)).sum()) / total / white
        # As numpy.percentile has it, between the two values next to that place.
        place = 0.95 * (total - 1)
        low, high = np.searchsorted(up_to_V, [int(place), int(np.ceil(place))], side="right")
        at = low + (high - low) * (place - int(place))
        return {"mean": round(mean, 6), "p95": round(float(at) / white, 6)}
