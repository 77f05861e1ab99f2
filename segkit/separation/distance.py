"""Separation by distances: the network tells how deep each pixel lies in its object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from segkit.separation.contract import FloatMap, Mask, Numbers
from segkit.separation.depth import depths
from segkit.separation.watershed import flooded


@dataclass(frozen=True)
class Distance:
    """One map: the distance to the object's edge, in units of `reach` and at most 1.

    Objects are the map's hills, flooded from their tops (Bai and Urtasun 2017, arXiv:1611.08303,
    learn the watershed's energy; here it is the plain distance, learnt as a number).

    reach       how deep objects usually are, pixels; distances beyond it count as it
    saddle      two hills are one object where the saddle between them is higher than this share of
                the lower hill's height
    least       hills lower than this share of `reach` are none where they touch a higher one
    weight      of this loss beside that of the classes
    least_area  objects of fewer pixels are none; a tenth suffices where the border cuts one
    """

    reach: float = 12.0
    saddle: float = 0.6
    least: float = 0.05
    weight: float = 2.0
    least_area: int = 1

    maps = 1

    def targets(self, instances_HW: NDArray[np.integer]) -> NDArray[np.float32]:
        return np.minimum(depths(instances_HW)[None] / np.float32(self.reach), np.float32(1))

    def loss(self, maps_BMHW: Tensor, target_BMHW: Tensor, object_BHW: Tensor) -> Tensor:
        return self.weight * (maps_BMHW - target_BMHW).abs()[:, 0]

    def decode(self, maps_MHW: FloatMap, foreground_HW: Mask) -> Numbers:
        return flooded(maps_MHW[0], foreground_HW, self.saddle, self.least)
