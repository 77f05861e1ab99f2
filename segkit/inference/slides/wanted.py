"""What is to be written of a large image, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Wanted:
    """Files of one large image; None where one is not asked for.

    mask         the classes
    overlay      a small picture to look at
    objects      the numbers of the objects
    geojson      their outlines
    coco         their annotations, a line each: coco.json is made of them
    probabilities, uncertainty, mutual_information  maps of numbers
    background   the label of what is no object
    least_area   smaller objects are left out, pixels; None: as the model's training measured
    """

    mask: Path
    overlay: Path | None = None
    objects: Path | None = None
    geojson: Path | None = None
    coco: Path | None = None
    probabilities: Path | None = None
    uncertainty: Path | None = None
    mutual_information: Path | None = None
    background: int = 0
    least_area: int | None = None

    @property
    def counts_objects(self) -> bool:
        return any((self.objects, self.geojson, self.coco))
