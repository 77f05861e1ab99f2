"""What masks lose at half the resolution, at which a network takes a quarter of the time."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def kept_when_halved(mask_HW: np.ndarray, classes: int) -> np.ndarray:
    """Counts of pixels, [those each class keeps, those it has before or after], shape (2, classes).

    Each class's share is averaged over 2 x 2 pixels and enlarged bilinearly, as logits of a network
    at half the resolution are, and the largest share wins. Labels that are no class do not count.
    """
    height, width = mask_HW.shape
    labels = [label for label in range(classes) if (mask_HW == label).any()]
    if not labels:
        return np.zeros((2, classes), np.int64)
    half = (-(-width // 2), -(-height // 2))
    best_HW = np.zeros((height, width), np.uint8)
    found_HW = np.full((height, width), labels[0], np.int64)
    for label in labels:
        inside_HW = np.where(mask_HW == label, np.uint8(255), np.uint8(0))
        coarse_hw = cv2.resize(inside_HW, half, interpolation=cv2.INTER_AREA)
        share_HW = cv2.resize(coarse_hw, (width, height), interpolation=cv2.INTER_LINEAR)
        found_HW = np.where(share_HW > best_HW, label, found_HW)
        np.maximum(best_HW, share_HW, out=best_HW)
    counts_HW = (mask_HW >= 0) & (mask_HW < classes)
    pairs = mask_HW[counts_HW].astype(np.int64) * classes + found_HW[counts_HW]
    confusion_KK = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    kept_K = np.diagonal(confusion_KK)
    return np.stack([kept_K, confusion_KK.sum(axis=0) + confusion_KK.sum(axis=1) - kept_K])


def mean_kept(counts: Sequence[np.ndarray]) -> float:
    """IoU, mean over the classes that occur, of such counts of some masks; 1 where none occurs."""
    kept_K, either_K = np.sum(counts, axis=0)
    shown = either_K > 0
    return float((kept_K[shown] / either_K[shown]).mean()) if shown.any() else 1.0
