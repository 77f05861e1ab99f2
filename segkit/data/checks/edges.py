"""Whether masks lie on their images: do the masks' edges follow edges of the pictures?

For each pair, how strong the picture's gradient is along the mask's edges, as a rank among all of
the picture's pixels. The same with the masks of other pictures says what chance gives. Masks that
were shifted, turned or paired with the wrong files do no better than chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from segkit.data.files.images import read_image
from segkit.data.findings import WARNING, Finding
from segkit.data.opening.fitting import Item, stored_values
from segkit.data.opening.inspection import Inspection
from segkit.errors import SegkitError

SIDE = 256
PAIRS = 48
LEAST_PAIRS = 8
# Standard errors. Seven real sets lie from 2.5 to 42 above chance, and turned about, below 0.
CLEAR = 2.0


@dataclass(frozen=True)
class EdgeAgreement:
    """Mean rank, 0 to 1, of the gradient along the edges: 0.5 is any pixel.

    own      of each picture's own mask
    others   of the masks of other pictures
    error    standard error of the mean difference of the two
    pairs    looked at
    """

    own: float
    others: float
    error: float
    pairs: int

    @property
    def is_chance(self) -> bool:
        """Whether a mask does no better than another picture's."""
        return self.own - self.others < CLEAR * self.error


def edge_agreement(seen: Inspection) -> EdgeAgreement | None:
    """Of pairs spread over the set; None where too few have edges to tell."""
    items = list(seen.items.values())
    ranks, edges = [], []
    for item in items[:: max(1, len(items) // PAIRS)][:PAIRS]:
        try:
            rank_HW, edge_HW = _rank(seen, item), _edge(seen, item)
        except SegkitError:
            # Told among the findings already.
            continue
        if edge_HW.any() and rank_HW.any():
            ranks.append(rank_HW)
            edges.append(edge_HW)
    if len(ranks) < LEAST_PAIRS:
        return None
    own_N = np.array([r_HW[e_HW].mean() for r_HW, e_HW in zip(ranks, edges, strict=True)])
    others_N = _by_chance(ranks, edges)
    error = float((own_N - others_N).std(ddof=1) / np.sqrt(len(ranks)))
    return EdgeAgreement(float(own_N.mean()), float(others_N.mean()), error, len(ranks))


def edge_finding(agreement: EdgeAgreement | None) -> list[Finding]:
    """A warning where the masks' edges follow the pictures no better than by chance."""
    if agreement is None or not agreement.is_chance:
        return []
    what = (
        f"the masks' edges follow their own pictures no better than other pictures of the set "
        f"(mean rank of the gradient {agreement.own:.3f} against {agreement.others:.3f}, over "
        f"{agreement.pairs} pairs)."
    )
    fix = "Look at the contact sheet: masks may be shifted, turned or paired with the wrong files."
    return [Finding("SK-D032", what, fix, (), WARNING)]


def _by_chance(ranks: Sequence[np.ndarray], edges: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) each picture with the masks of those one, two and three places on."""
    count = len(ranks)
    return np.array(
        [
            np.mean([ranks[place][edges[(place + step) % count]].mean() for step in (1, 2, 3)])
            for place in range(count)
        ]
    )


def _rank(seen: Inspection, item: Item) -> np.ndarray:
    """(SIDE, SIDE) rank of each pixel's gradient in its picture, 0 to 1; zeros for a plain one."""
    image_HWC = read_image(item.pair.image, upright=item.image_upright, reading=seen.reading)
    grey_HW = image_HWC[:, :, :3].astype(np.float32).mean(axis=2)
    grey_HW = cv2.resize(grey_HW, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    grey_HW = cv2.GaussianBlur(grey_HW, (0, 0), 1)
    steps_HW = cv2.magnitude(
        cv2.Sobel(grey_HW, cv2.CV_32F, 1, 0), cv2.Sobel(grey_HW, cv2.CV_32F, 0, 1)
    )
    if steps_HW.max() <= 0:
        return np.zeros((SIDE, SIDE))
    order = steps_HW.ravel().argsort().argsort()
    return order.reshape(SIDE, SIDE) / (SIDE * SIDE - 1)


def _edge(seen: Inspection, item: Item) -> np.ndarray:
    """(SIDE, SIDE) bool: where a neighbour's value differs, away from the picture's rim."""
    values_HW = stored_values(item, seen.reading)
    _, place = np.unique(values_HW, return_inverse=True)
    number_HW = place.reshape(values_HW.shape).astype(np.float64)
    small_HW = cv2.resize(number_HW, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST_EXACT)
    edge_HW = np.zeros((SIDE, SIDE), bool)
    edge_HW[:, 1:] |= small_HW[:, 1:] != small_HW[:, :-1]
    edge_HW[1:] |= small_HW[1:] != small_HW[:-1]
    # The blur and the gradient know too little of the outermost pixels.
    edge_HW[:4] = edge_HW[-4:] = False
    edge_HW[:, :4] = edge_HW[:, -4:] = False
    return edge_HW
