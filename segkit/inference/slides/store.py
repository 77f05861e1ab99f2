"""What the regions of a large image that are done have left on disk, to go on from after a stop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segkit.inference.slides.kept import SUFFIX, KeptRegions
from segkit.inference.slides.maps import MUTUAL, PROBABILITIES, UNCERTAINTY, KeptMap, type_of
from segkit.inference.slides.wanted import Wanted
from segkit.model.network import ModelRecord

OBJECTS = "objects"
EXTRAS = (OBJECTS, PROBABILITIES, UNCERTAINTY, MUTUAL)


class Store:
    """A file for each kind of result, beside the mask.

    labels    of every region
    windows   by region, the numbers of all that it saw, of a model that separates objects; else
              None
    maps      of the kinds that are wanted
    """

    def __init__(
        self,
        wanted: Wanted,
        conditions: Mapping[str, Any],
        record: ModelRecord,
        *,
        separating: bool,
    ) -> None:
        dtype = np.dtype(np.uint8 if record.label_count <= 256 else np.uint16)
        self.labels = KeptRegions(kept_file(wanted.mask), conditions, dtype)
        self.windows = None
        if wanted.counts_objects and separating:
            file = kept_file(wanted.mask, OBJECTS)
            self.windows = KeptRegions(file, conditions, np.dtype(np.uint32))
        asked = (
            (PROBABILITIES, wanted.probabilities, tuple(record.label_names)),
            (UNCERTAINTY, wanted.uncertainty, ("",)),
            (MUTUAL, wanted.mutual_information, ("",)),
        )
        self.maps = tuple(
            KeptMap(
                kind,
                file,
                channels,
                KeptRegions(kept_file(wanted.mask, kind), conditions, type_of(kind)),
            )
            for kind, file, channels in asked
            if file is not None
        )

    def holds(self, number: int) -> bool:
        """Whether all of a region is there."""
        windows = self.windows is None or number in self.windows
        return number in self.labels and windows and all(number in each for each in self.maps)

    def close(self) -> None:
        for kept in (self.labels, self.windows, *(each.kept for each in self.maps)):
            if kept is not None:
                kept.close()


def kept_file(mask: Path, kind: str = "") -> Path:
    return mask.with_name(f"{mask.name}{'.' * bool(kind)}{kind}{SUFFIX}")


def remove_kept(mask: Path) -> None:
    """Removes all that a stop would have been gone on from."""
    for kind in ("", *EXTRAS):
        kept_file(mask, kind).unlink(missing_ok=True)
