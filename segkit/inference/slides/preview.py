"""A large image made small, to be looked at."""

from __future__ import annotations

import numpy as np

from segkit.inference.slides.given import GivenRegions
from segkit.reporting.pictures import Picture


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
