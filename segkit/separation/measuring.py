"""What a separation's options are measured by: the objects that it is trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from segkit.separation.depth import deepest

SHALLOWEST = 2.0
# What is smaller than this share of the smallest object is none: half as wide. Of many objects the
# smallest is the first percentile, so that a stray pixel among them says nothing.
SPECK, SMALLEST = 0.25, 1


def measured(instances: Iterable[NDArray[np.integer]]) -> Mapping[str, float | int]:
    """`reach` and `least_area` of maps of object numbers; what no object tells is left out.

    reach        the median over objects of how deep they are, pixels
    least_area   a quarter of the area of the smallest that no border cuts, pixels
    """
    depth: list[float] = []
    area: list[int] = []
    for instances_HW in instances:
        numbers_N, first_N, count_N = np.unique(instances_HW, return_index=True, return_counts=True)
        object_N = numbers_N != 0
        depth += deepest(instances_HW).reshape(-1)[first_N[object_N]].tolist()
        edges = instances_HW[[0, -1]], instances_HW[:, [0, -1]]
        cut = np.concatenate([each.reshape(-1) for each in edges])
        area += count_N[object_N & ~np.isin(numbers_N, cut)].tolist()
    found: dict[str, float | int] = {}
    if depth:
        found["reach"] = round(max(float(np.median(depth)), SHALLOWEST), 1)
    if area:
        found["least_area"] = max(1, int(SPECK * np.percentile(area, SMALLEST)))
    return found
