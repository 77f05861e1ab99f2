"""The exact Euclidean distance transform."""

from __future__ import annotations

import cv2
import numpy as np


def distance_to(place_HW: np.ndarray) -> np.ndarray:
    """Every pixel's distance to the nearest True one (there must be one), between centres."""
    distance_HW = cv2.distanceTransform(
        (~place_HW).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    # OpenCV's square root varies in its last bit from call to call; the squares are whole numbers.
    squared_HW = np.rint(np.square(distance_HW, dtype=np.float64))
    return np.sqrt(squared_HW).astype(np.float32)
