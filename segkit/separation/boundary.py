"""Separation by boundaries: the network marks the objects' outermost pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from segkit.separation.contract import FloatMap, Mask, Numbers
from segkit.separation.depth import deepest, depths, inside_depth
from segkit.separation.watershed import flooded


@dataclass(frozen=True)
class Boundary:
    """One map: the logit of being among an object's outermost pixels.

    The inside is what is foreground and no boundary; objects are the hills of its depth, so that a
    hole in a boundary does not join two. After the interior and boundary classes of the 2018 Data
    Science Bowl's winners (Caicedo et al. 2019), with a map of its own in place of a class.

    reach       how deep objects usually are, pixels
    width       of the boundary inside each object, share of `reach`: a pixel at least, and at most
                half of the object's own depth
    saddle      two insides are one object where they are joined by more than this share of the
                narrower one's width
    least       insides less deep than this share of `reach` are none where they touch a deeper one
    least_area  objects of fewer pixels are none; a tenth suffices where the border cuts one
    """

    reach: float = 12.0
    width: float = 0.15
    saddle: float = 0.5
    least: float = 0.015
    least_area: int = 1

    maps = 1

    def targets(self, instances_HW: NDArray[np.integer]) -> NDArray[np.float32]:
        depth_HW = depths(instances_HW)
        wide_HW = np.minimum(self.width * self.reach, deepest(instances_HW) / 2)
        edge_HW = (depth_HW > 0) & (depth_HW < np.maximum(1.0, wide_HW))
        return edge_HW[None].astype(np.float32)

    def loss(self, maps_BMHW: Tensor, target_BMHW: Tensor, object_BHW: Tensor) -> Tensor:
        # Boundaries are few: each of their pixels counts as much as so many others.
        weight_BMHW = torch.where(target_BMHW > 0.5, 4.0, 1.0)
        return F.binary_cross_entropy_with_logits(
            maps_BMHW, target_BMHW, weight_BMHW, reduction="none"
        )[:, 0]

    def decode(self, maps_MHW: FloatMap, foreground_HW: Mask) -> Numbers:
        inside_HW = foreground_HW & (maps_MHW[0] <= 0)
        least = self.least * self.reach
        return flooded(inside_depth(inside_HW), foreground_HW, self.saddle, least)
