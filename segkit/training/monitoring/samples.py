"""Pictures of a model at work: image, truth, prediction and errors in a row, for a few images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segkit.data.opening.opened import Data
from segkit.inference.predictor import Predictor
from segkit.reporting.pictures import write_picture
from segkit.scoring.cases import sheet
from segkit.storage import storage_errors


def write_samples(
    predictor: Predictor, data: Data, folder: Path, *, split: str, count: int
) -> list[Path]:
    """Writes up to `count` PNG pictures, of images spread over the split; returns their paths."""
    dataset = data.split(split)
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round())
    written = []
    for index in chosen.astype(int):
        sample = dataset[int(index)]
        file = folder / f"{sample.id.replace('/', '_')}.png"
        sheet_HWC = sheet(sample, data, predictor)
        with storage_errors(file):
            folder.mkdir(parents=True, exist_ok=True)
            write_picture(file, sheet_HWC)
        written.append(file)
    return written
