"""How often shifted masks are told, and masks that fit are not, on real sets: -m slow -s."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segkit.data.checks import edges
from segkit.data.opening.inspection import inspect
from segkit.data.options import DataOptions

SETS = {  # of draws with masks moved by 5 % of the side, the share that has to be told
    "camvid": 0.8,
    "ctc_phc_u373": 0.9,
    "drive": 0.9,
    "dsb2018": 0.9,
    "isbi2012": 0.9,
    "m2nist": 0.8,
    "pets_cat_dog": 0.0,
}
PAIRS, DRAWS, SHIFT = 12, 20, round(0.05 * edges.SIDE)
PLACES = ((0, 0), (SHIFT, 0), (0, -SHIFT), (-SHIFT, SHIFT))


def moved(edge_HW: np.ndarray, down: int, right: int) -> np.ndarray:
    """The outlines so many pixels further down and right; what leaves the picture is lost."""
    wide_HW = np.pad(edge_HW, SHIFT)
    height, width = edge_HW.shape
    return wide_HW[SHIFT - down : SHIFT - down + height, SHIFT - right : SHIFT - right + width]


def told(fits: list[np.ndarray], rng: np.random.Generator) -> float:
    """The share of draws of so many pairs that are warned of."""
    warned = 0
    for _ in range(DRAWS):
        drawn = rng.choice(len(fits), min(PAIRS, len(fits)), replace=False)
        warned += bool(edges.edge_finding(edges.agreement_of([fits[place] for place in drawn])))
    return warned / DRAWS


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), SETS.items())
def test_masks_moved_by_5_percent_are_told_and_those_that_fit_are_not(
    real_data: Path, name: str, least: float
):
    seen, rng = inspect(real_data / name, DataOptions()), np.random.default_rng(0)
    items = list(seen.items.values())[:: max(1, len(seen.items) // 24)][:24]
    planes = [(edges._rank(seen, item), edges._edge(seen, item)) for item in items]
    planes = [(rank_HW, edge_HW) for rank_HW, edge_HW in planes if rank_HW.any() and edge_HW.any()]
    rates = []
    for down, right in PLACES:
        fits = [edges._fit_by_place(rank, moved(edge, down, right)) for rank, edge in planes]
        rates.append(told(fits, rng))
    print(f"{name}: {len(planes)} pairs; told as they are {rates[0]:.0%}, moved {rates[1:]}")  # noqa: T201
    assert rates[0] == 0
    assert min(rates[1:]) >= least
