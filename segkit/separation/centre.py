"""Separation by centres: each pixel points to its object's centre, and votes are counted."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from segkit.separation.contract import FloatMap, Mask, Numbers
from segkit.separation.watershed import connected, in_order

# Votes of one object lie within this share of the radius of a disc of its area.
CLOSE = 0.4
FEWEST_VOTES = 6
# No object is larger than so many times the usual depth.
LARGEST = 8


@dataclass(frozen=True)
class Centre:
    """Two maps: how far down and how far right of a pixel its object's centre lies, over `reach`.

    An object is where enough of the pixels' votes meet; each pixel then belongs to the centre that
    its vote comes nearest to, measured by the objects' sizes (after Neven et al. 2019,
    arXiv:1906.11109, and Panoptic-DeepLab, arXiv:1911.10194; without a map of the centres). The
    centre is the object's pixel next to the mean of its pixels.

    reach       how deep objects usually are, pixels: the unit of the maps
    weight      of this loss beside that of the classes
    least_area  objects of fewer pixels are none; a tenth suffices where the border cuts one
    """

    reach: float = 12.0
    weight: float = 1.0
    least_area: int = 1

    maps = 2

    def targets(self, instances_HW: NDArray[np.integer]) -> NDArray[np.float32]:
        offset_2HW = np.zeros((2, *instances_HW.shape), np.float32)
        y_N, x_N = np.nonzero(instances_HW)
        for place_N in _groups(instances_HW[y_N, x_N]):
            y, x = y_N[place_N], x_N[place_N]
            centre = np.argmin((y - y.mean()) ** 2 + (x - x.mean()) ** 2)
            offset_2HW[0, y, x], offset_2HW[1, y, x] = y[centre] - y, x[centre] - x
        offset_2HW /= np.float32(self.reach)
        return offset_2HW

    def loss(self, maps_BMHW: Tensor, target_BMHW: Tensor, object_BHW: Tensor) -> Tensor:
        error_BMHW = F.smooth_l1_loss(maps_BMHW, target_BMHW, reduction="none", beta=0.25)
        return self.weight * error_BMHW.sum(dim=1) * object_BHW

    def decode(self, maps_MHW: FloatMap, foreground_HW: Mask) -> Numbers:
        number_HW = np.zeros(foreground_HW.shape, np.int32)
        y_N, x_N = np.nonzero(foreground_HW)
        if not len(y_N):
            return number_HW
        vote_N2 = np.stack([y_N, x_N], 1) + self.reach * maps_MHW[:, y_N, x_N].T.astype(np.float64)
        # Beyond the border there is no object: what points there points to its edge.
        vote_N2 = vote_N2.clip(0, np.array(foreground_HW.shape) - 1)
        centres_C3 = self._centres(vote_N2, foreground_HW.shape)
        if not len(centres_C3):
            return in_order(connected(foreground_HW))
        number_HW[y_N, x_N] = _nearest(vote_N2, centres_C3) + 1
        return in_order(number_HW)

    def _centres(self, vote_N2: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
        """(y, x, radius) of the places where votes meet, the densest first.

        A place counts with as many votes as lie as close as they do in an object of so many pixels.
        So a small object counts as well as a large one, and scattered votes do not.
        """
        votes_HW = np.zeros(shape, np.float32)
        np.add.at(votes_HW, tuple(np.rint(vote_N2).astype(int).T), 1)
        spread = max(0.7, self.reach / 16)
        density_HW = cv2.GaussianBlur(votes_HW, (0, 0), spread, borderType=cv2.BORDER_CONSTANT)
        peak_HW = (density_HW == cv2.dilate(density_HW, np.ones((3, 3)))) & (density_HW > 0)
        y_P, x_P = np.nonzero(peak_HW)
        found: list[tuple[float, float, float]] = []
        for place in np.argsort(-density_HW[y_P, x_P], kind="stable"):
            # A cluster is met somewhere, and then looked at from its own middle.
            y, x, _ = _cluster(votes_HW, y_P[place], x_P[place], self.reach)
            y, x, votes = _cluster(votes_HW, y, x, self.reach)
            if votes >= FEWEST_VOTES:
                radius = max(1.0, float(np.sqrt(votes / np.pi)))
                found.append((y, x, radius))
                rows, columns, far_hw = _around(votes_HW, y, x, radius)
                votes_HW[rows, columns][far_hw <= radius] = 0
        return np.array(found).reshape(-1, 3)


def _cluster(
    votes_HW: NDArray[np.float32], y: float, x: float, reach: float
) -> tuple[float, float, float]:
    """(y, x, votes) of the votes around a place that lie close together; 0 votes where none do."""
    rows, columns, far_hw = _around(votes_HW, y, x, max(2.0, LARGEST * reach * CLOSE))
    votes_hw = votes_HW[rows, columns]
    y_N, x_N = np.nonzero(votes_hw)
    order_N = np.argsort(far_hw[y_N, x_N], kind="stable")
    y_N, x_N = y_N[order_N], x_N[order_N]
    far_N, votes_N = far_hw[y_N, x_N], votes_hw[y_N, x_N]
    within_N = np.cumsum(votes_N)
    # Rounding to whole pixels takes half of one.
    close = np.flatnonzero(far_N <= CLOSE * np.sqrt(within_N / np.pi) + 0.5)
    if not len(close):
        return y, x, 0.0
    last = int(close[-1]) + 1
    count = float(within_N[last - 1])
    y_mean = rows.start + float(y_N[:last] @ votes_N[:last]) / count
    x_mean = columns.start + float(x_N[:last] @ votes_N[:last]) / count
    return y_mean, x_mean, count


def _around(
    votes_HW: NDArray[np.float32], y: float, x: float, radius: float
) -> tuple[slice, slice, NDArray[np.float64]]:
    """The rows and columns around a place, and how far from it they are, pixels."""
    top, left = max(0, int(y - radius)), max(0, int(x - radius))
    rows = slice(top, min(votes_HW.shape[0], int(y + radius) + 2))
    columns = slice(left, min(votes_HW.shape[1], int(x + radius) + 2))
    y_h, x_w = np.arange(rows.start, rows.stop) - y, np.arange(columns.start, columns.stop) - x
    return rows, columns, np.hypot(y_h[:, None], x_w)


def _nearest(vote_N2: NDArray[np.float64], centres_C3: NDArray[np.float64]) -> NDArray[np.integer]:
    """Of each vote the centre it comes nearest to, in radii, among the four nearest in pixels."""
    from scipy.spatial import cKDTree

    several = min(4, len(centres_C3))
    far_Nk, place_Nk = cKDTree(centres_C3[:, :2]).query(vote_N2, k=several)
    if several == 1:
        return np.asarray(place_Nk)
    in_radii_Nk = far_Nk / centres_C3[place_Nk, 2]
    return np.asarray(place_Nk[np.arange(len(vote_N2)), in_radii_Nk.argmin(axis=1)])


def _groups(numbers_N: NDArray[np.integer]) -> list[NDArray[np.integer]]:
    """The places of each number."""
    order_N = np.argsort(numbers_N, kind="stable")
    ends = np.flatnonzero(np.diff(numbers_N[order_N])) + 1
    return [each for each in np.split(order_N, ends) if len(each)]
