"""Seeded watershed: a seed for each hill of a height map, and every hill flooded from its seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segkit.separation.contract import FloatMap, Mask, Numbers

# Of an object that the border cuts, the share of the least area that has to be seen.
SEEN_OF_CUT = 0.1
FOURS, EIGHTS = np.ones((3, 3), bool), np.ones((3, 3), bool)
FOURS[::2, ::2] = False


def flooded(height_HW: FloatMap, foreground_HW: Mask, saddle: float, least: float) -> Numbers:
    """(H, W), an object for each hill of the foreground, numbered by their first pixels.

    height_HW   0 or more, higher the farther a pixel lies inside of its object
    saddle      two hills are one object where the saddle between them is higher than this share of
                the lower one's height, so that it is the same for large and for small objects
    least       lower places count as so high, above 0: a lower hill is none where it touches a
                higher one, and the foreground is nowhere without a hill

    Hills are the regional maxima that are left when all of them are lowered by that share (Soille
    2003, Morphological Image Analysis, h-maxima; here on the logarithm). Where the height tells
    nothing, every connected part of the foreground is one.
    """
    from skimage.morphology import local_maxima, reconstruction
    from skimage.segmentation import watershed

    number_HW = np.zeros(foreground_HW.shape, np.int32)
    box = bounding_box(foreground_HW)
    if box is None:
        return number_HW
    inside_hw = foreground_HW[box]
    log_hw = np.log(np.maximum(height_HW[box], least).astype(np.float32))
    ground = np.float32(np.log(least) + 2 * np.log(saddle))
    log_hw[~inside_hw] = ground
    # A rim of ground, so that a hill that fills all of it has something lower beside it.
    log_hw, wide_hw = np.pad(log_hw, 1, constant_values=ground), np.pad(inside_hw, 1)
    lowered_hw = np.maximum(log_hw + np.float32(np.log(saddle)), ground)
    hills_hw = reconstruction(lowered_hw, log_hw, footprint=FOURS)
    top_hw = local_maxima(hills_hw, footprint=FOURS) & wide_hw
    seeds_hw = connected(top_hw, sides_only=True)
    found_hw = watershed(-log_hw, seeds_hw, mask=wide_hw, connectivity=FOURS)
    # What hangs on by a corner only has not been reached.
    found_hw = watershed(-log_hw, found_hw, mask=wide_hw, connectivity=EIGHTS)
    number_HW[box] = found_hw[1:-1, 1:-1]
    return in_order(number_HW)


def connected(where_HW: Mask, *, sides_only: bool = False) -> Numbers:
    """A number from 1 for each group of pixels that touch at a side or a corner; 0 elsewhere."""
    import cv2

    ways = 4 if sides_only else 8
    _, number_HW = cv2.connectedComponents(where_HW.astype(np.uint8), connectivity=ways)
    return np.asarray(number_HW, dtype=np.int32)


def without_specks(number_HW: Numbers, least_area: int) -> Numbers:
    """The objects without what hangs together of fewer pixels, or of fewer than a tenth of that
    where the image's border cuts it.

    Specks that touch are one object where they have the pixels together; else they are of the
    object that they touch, or of none.
    """
    if least_area <= 1:
        return number_HW
    from skimage.measure import label
    from skimage.segmentation import watershed

    # An object can be in pieces, where it is told by votes.
    piece_HW = label(number_HW, connectivity=2)
    area_P = np.bincount(piece_HW.reshape(-1))
    least_P = np.full(len(area_P), least_area)
    for edge in (piece_HW[0], piece_HW[-1], piece_HW[:, 0], piece_HW[:, -1]):
        least_P[edge] = SEEN_OF_CUT * least_area
    speck_P = area_P < least_P
    speck_P[0] = False
    speck_HW = speck_P[piece_HW]
    box = bounding_box(speck_HW)
    if box is None:
        return number_HW
    together_HW = connected(speck_HW)
    too_few_N = np.bincount(together_HW.reshape(-1)) < least_area
    kept_HW = np.where(speck_HW, 0, number_HW)
    one_HW = speck_HW & ~too_few_N[together_HW]
    kept_HW[one_HW] = together_HW[one_HW] + number_HW.max()
    # With a pixel more on every side, where the objects are that specks touch.
    rows, columns = (slice(max(0, each.start - 1), each.stop + 1) for each in box)
    flat_hw = np.zeros(kept_HW[rows, columns].shape, np.uint8)
    kept_HW[rows, columns] = watershed(
        flat_hw, kept_HW[rows, columns], mask=number_HW[rows, columns] > 0, connectivity=EIGHTS
    )
    return in_order(kept_HW)


def in_order(number_HW: NDArray[np.integer]) -> Numbers:
    """The same objects, numbered from 1 without gaps in the order of their first pixels."""
    numbers, first, place_N = np.unique(number_HW, return_index=True, return_inverse=True)
    first[numbers == 0] = -1
    rank = np.empty(len(numbers), np.int32)
    rank[np.argsort(first)] = np.arange(len(numbers))
    if not (numbers == 0).any():
        rank += 1
    return rank[place_N].reshape(number_HW.shape)


def bounding_box(where_HW: Mask) -> tuple[slice, slice] | None:
    """The rows and columns that hold all of it; None where there is none."""
    rows, columns = np.flatnonzero(where_HW.any(axis=1)), np.flatnonzero(where_HW.any(axis=0))
    if not len(rows):
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
