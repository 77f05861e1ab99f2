"""The contract of a separation: maps that a network learns beside the classes, and the way back."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

FloatMap = NDArray[np.floating]
Mask = NDArray[np.bool_]
Numbers = NDArray[np.int32]


@runtime_checkable
class Separation(Protocol):
    """How objects that touch are told apart.

    maps         M, how many maps the network gives beside the classes' logits
    least_area   objects of fewer pixels are none: the caller of `decode` takes them out

    The numbers of objects say which pixels belong together and nothing else: other numbers for the
    same objects give the same targets and the same loss.
    """

    @property
    def maps(self) -> int: ...

    @property
    def least_area(self) -> int: ...

    def targets(self, instances_HW: NDArray[np.integer]) -> NDArray[np.float32]:
        """(M, H, W), what the maps are to be: of object numbers, 0 where there is no object.

        What lies beyond the border is unknown: an object that the border cuts does not end there.
        """

    def loss(self, maps_BMHW: Tensor, target_BMHW: Tensor, object_BHW: Tensor) -> Tensor:
        """How wrong the maps are at each pixel, (B, H, W), 0 or more.

        object_BHW   True at the pixels of objects
        """

    def decode(self, maps_MHW: FloatMap, foreground_HW: Mask) -> Numbers:
        """(H, W), the number of each pixel's object from 1, and 0 outside of the foreground."""
