"""How deep each pixel lies in its object."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.separation.contract import FloatMap, Mask


def rims(instances_HW: NDArray[np.integer]) -> Mask:
    """Pixels of objects that have another object or the background at a side."""
    inner_HW = np.ones(instances_HW.shape, bool)
    same_down, same_right = np.diff(instances_HW, axis=0) == 0, np.diff(instances_HW, axis=1) == 0
    inner_HW[1:] &= same_down
    inner_HW[:-1] &= same_down
    inner_HW[:, 1:] &= same_right
    inner_HW[:, :-1] &= same_right
    return np.asarray(~inner_HW & (instances_HW != 0))


def depths(instances_HW: NDArray[np.integer]) -> NDArray[np.float32]:
    """(H, W), pixels from the object's edge to the pixel's centre: 0.5 along the edge, 0 outside.

    The image's border is no edge. An object without an edge, which fills the image, is as deep as
    the image is wide and high.
    """
    object_HW, rim_HW = instances_HW != 0, rims(instances_HW)
    if not rim_HW.any():
        return np.where(object_HW, np.float32(sum(object_HW.shape)), np.float32(0))
    far_HW = cv2.distanceTransform((~rim_HW).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.where(object_HW, far_HW + np.float32(0.5), np.float32(0))


def deepest(instances_HW: NDArray[np.integer]) -> NDArray[np.float32]:
    """(H, W), the depth of the deepest pixel of each pixel's object; 0 outside."""
    numbers, place_N = np.unique(instances_HW, return_inverse=True)
    found = np.zeros(len(numbers), np.float32)
    np.maximum.at(found, place_N.reshape(-1), depths(instances_HW).reshape(-1))
    return found[place_N].reshape(instances_HW.shape)


def inside_depth(foreground_HW: Mask) -> FloatMap:
    """As `depths`, where all that is foreground is one object."""
    return depths(foreground_HW.astype(np.int8))
