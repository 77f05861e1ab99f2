"""What a prediction of files is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from segkit.data.files.reading import MAX_PIXELS
from segkit.data.intensity import Intensity
from segkit.inference.certainty import Ways
from segkit.inference.slides.predicting import OVERLAP, TILE, RegionSettings


@dataclass(frozen=True)
class PredictionSettings:
    """What to predict with, and how.

    model      a run folder, a model folder or a hub id; several are an ensemble
    device     auto, cpu, cuda, cuda:N or mps
    precision  auto, fp32, bf16 or fp16
    batch      images of one size, or tiles, at a time; None: on a CPU one for each core, else 1
    tile       side of the tiles that larger images are cut into, pixels; None: images whole
    overlap    share of a tile that neighbours have in common
    intensity  "per-image" or "fixed(BLACK, WHITE)"; None: as recorded with the model
    max_pixels  the largest image allowed, pixels
    tta        whether to take the mean over the image and its three mirrored versions
    mc_dropout  take the mean over so many passes with dropout left on; 0: one pass without
    background  the class that is no object, by name or number; None: as recorded with the model
    level      of pyramids, 0 being the finest
    shard      "3/8": the third of eight shares of the images; None: all of them
    merge      whether to add up the shards of a folder, and predict nothing

    Images that are read by region are always cut: into tiles of 1024 pixels where none is said.
    """

    model: str | tuple[str, ...]
    device: str = "auto"
    precision: str = "auto"
    batch: int | None = None
    tile: int | None = None
    overlap: float = 0.25
    intensity: str | None = None
    max_pixels: int = MAX_PIXELS
    tta: bool = False
    mc_dropout: int = 0
    background: str | None = None
    level: int = 0
    shard: str | None = None
    merge: bool = False

    @property
    def ways(self) -> Ways:
        """In how many ways the model is asked about an image."""
        return Ways(self.tta, self.mc_dropout)

    @property
    def shaping(self) -> dict[str, object]:
        """What the labels depend on, besides the model."""
        return {
            "precision": self.precision,
            "tile": self.tile,
            "overlap": self.overlap if self.tile or self.overlap != OVERLAP else None,
            "intensity": self.intensity,
            "tta": self.tta,
            "mc_dropout": self.mc_dropout or None,
            "background": self.background,
            "level": self.level or None,
        }

    def by_region(self, batch: int, intensity: Intensity | None) -> RegionSettings:
        """How large images are predicted."""
        return RegionSettings(
            self.tile or TILE, self.overlap, self.level, batch, self.ways, intensity
        )
