"""`segkit.open_data(...)`: a data set opened from Python, options by keyword."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from segkit.data.intensity import read_intensity
from segkit.data.opening.open import open_data as open_with
from segkit.data.opening.opened import Data
from segkit.data.options import DataOptions
from segkit.errors import UsageError, did_you_mean

KNOWN = tuple(each.name for each in fields(DataOptions))


def open_data(root: str | Path | None = None, **options: Any) -> Data:
    """The data set in a folder (or of a data.yaml), looked at once and given sample by sample.

    root      None: the built-in demo set
    options   fields of DataOptions: ignore_index=255, num_classes=5, instances="foreground",
              binarize=128, intensity="fixed(0, 4095)", dataset="voc2012", cache="auto", ...

        data = segkit.open_data("data/cells")
        print(data.classes, data.notes)
        sample = data.split("train")[0]     # sample.image (H, W, C), sample.mask (H, W), sample.id

    Nothing below the folder is written. Raises UsageError SK-C008 for an option that is not known,
    DataError SK-D0xx with all files at fault.
    """
    for name in options:
        if name not in KNOWN:
            raise UsageError(
                "SK-C008",
                f"open_data has no option '{name}'.",
                f"{did_you_mean(name, KNOWN)}It has {', '.join(KNOWN)}.",
            )
    if isinstance(options.get("intensity"), str):
        options["intensity"] = read_intensity(options["intensity"])
    return open_with(None if root is None else Path(root).expanduser(), DataOptions(**options))
