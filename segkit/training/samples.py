"""Pictures of a model at work: image, truth and prediction side by side, for a few images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from segkit.data.opening.opened import Data
from segkit.device import autocast
from segkit.model.network import SegmentationModel
from segkit.reporting.pictures import overlay, side_by_side, to_uint8
from segkit.scoring.evaluation import move
from segkit.storage import storage_errors


@torch.no_grad()
def write_samples(
    model: SegmentationModel,
    data: Data,
    folder: Path,
    *,
    split: str,
    count: int,
    device: torch.device,
    precision: str,
) -> list[Path]:
    """Writes up to `count` PNG pictures, of images spread over the split; returns their paths."""
    model.eval()
    dataset = data.split(split)
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round())
    written = []
    for index in chosen.astype(int):
        sample = dataset[int(index)]
        image_BCHW = torch.from_numpy(np.ascontiguousarray(sample.image)).permute(2, 0, 1)[None]
        if image_BCHW.dtype == torch.uint16:
            image_BCHW = image_BCHW.to(torch.int32)
        with autocast(device, precision):
            image_BCHW = model.normalize(move(image_BCHW, device, False), data.full_scale)
            label_HW = model.labels(image_BCHW)[0].cpu().numpy()
        # A single class is everywhere, whatever its logit.
        label_HW = np.minimum(label_HW, len(data.classes) - 1)
        shown_HWC = to_uint8(sample.image, data.full_scale)
        pictures, titles = [shown_HWC], ["image"]
        if sample.mask is not None:
            pictures.append(overlay(shown_HWC, sample.mask, data.palette, data.ignore_index))
            titles.append("truth")
        pictures.append(overlay(shown_HWC, label_HW, data.palette))
        titles.append("prediction")
        file = folder / f"{sample.id.replace('/', '_')}.png"
        with storage_errors(file):
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(side_by_side(pictures, titles)).save(file)
        written.append(file)
    return written
