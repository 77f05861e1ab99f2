"""Label maps on the host, for scores that look at shapes: boundaries, surfaces, objects."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from torch import Tensor

from segkit.api import ConfusionMatrix

# A place without a class: ignored, or outside of the image. Both maps of a pair have it there.
NOWHERE = -1


def require_same_shape(label_BHW: Tensor, target_BHW: Tensor) -> None:
    """Raises ValueError where not; a test of labels against truth, not of what a user typed."""
    if label_BHW.shape != target_BHW.shape:
        raise ValueError(f"labels {tuple(label_BHW.shape)}, truth {tuple(target_BHW.shape)}")


def label_maps(
    label_BHW: Tensor, target_BHW: Tensor, num_classes: int, ignore_index: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(prediction, truth) of each image, int16, NOWHERE where the truth is ignored.

    Raises DataError SK-D012 for a label that is no class, and ValueError for different shapes.
    """
    require_same_shape(label_BHW, target_BHW)
    for label_HW, target_HW in zip(label_BHW.cpu().numpy(), target_BHW.cpu().numpy(), strict=True):
        ignored_HW = np.zeros(target_HW.shape, dtype=bool)
        if ignore_index is not None:
            ignored_HW = target_HW == ignore_index
        pair = []
        for map_HW in (label_HW, target_HW):
            wrong_HW = ((map_HW < 0) | (map_HW >= num_classes)) & ~ignored_HW
            if wrong_HW.any():
                raise ConfusionMatrix.out_of_range(int(wrong_HW.sum()), num_classes, ignore_index)
            pair.append(np.where(ignored_HW, NOWHERE, map_HW.astype(np.int16)))
        yield pair[0], pair[1]


def near_boundary(label_HW: np.ndarray, width: int) -> np.ndarray:
    """True where a pixel of another label, or the image's end, is within `width` (chessboard)."""
    kernel = np.ones((2 * width + 1, 2 * width + 1), dtype=np.uint8)
    padded_HW = cv2.copyMakeBorder(
        label_HW, width, width, width, width, cv2.BORDER_CONSTANT, value=NOWHERE
    )
    inner = (slice(width, -width), slice(width, -width))
    lowest_HW = cv2.erode(padded_HW, kernel)[inner]
    highest_HW = cv2.dilate(padded_HW, kernel)[inner]
    return np.asarray((lowest_HW != label_HW) | (highest_HW != label_HW))
