"""Whether masks lie on their images: do the masks' outlines follow edges of the pictures?

The outlines of each mask are moved about over its picture, up to a fifth of its side in every
direction, and at each place it is asked how strong the picture's edges are below them. Masks that
fit are best where they are. Masks that were exported with a shift are best elsewhere, all at the
same place; masks that were turned, or belong to other pictures, are as good anywhere.

Measured on eight real sets in draws of 8 to 20 pairs: as they are, 1 of 320 draws was warned of.
With every mask moved by 5 to 17 % of the side, 94 % of the draws or more were, and told the right
place, but for two sets: of small digits (80 %), and of pets with a wide ignored border around the
animal (1 % at 5 %, nearly all from 10 % on, told as outlines that follow no edges). Shifts of each
mask its own are mostly not found.
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
# Pixels of SIDE that outlines are moved at most.
REACH = 51
# Below this share of the side a better place is the width of an outline; from FAR on, another one.
NEAR, FAR, SHIFTED = 0.0151, 0.03, 0.025
# Standard errors, and gain in rank, by which the better place is better.
CLEAR, GAIN = 8.0, 0.03
# Share of the places further off at which outlines do as well: real sets reach 0.17 (pets), the
# others 0.01; turned ones and those of other pictures mostly 0.2 to 0.45.
ANYWHERE = 0.2


@dataclass(frozen=True)
class EdgeAgreement:
    """How well the outlines of masks follow edges of their pictures.

    anywhere   mean share of places further off at which they do as well as where they are, 0 to 1
    down       where they do best, as a share of the height, positive downwards
    right      as a share of the width
    gain       how much better they do there, as rank of the gradient, 0 to 1
    error      standard error of the gain
    pairs      looked at
    """

    anywhere: float
    down: float
    right: float
    gain: float
    error: float
    pairs: int

    @property
    def is_shifted(self) -> bool:
        """Whether nearly all masks would fit better at one other place."""
        far = float(np.hypot(self.down, self.right)) >= SHIFTED
        return far and self.gain >= max(GAIN, CLEAR * self.error)


def edge_agreement(seen: Inspection) -> EdgeAgreement | None:
    """Of pairs spread over the set; None where too few have edges to tell."""
    items = list(seen.items.values())
    fits = []
    for item in items[:: max(1, len(items) // PAIRS)][:PAIRS]:
        try:
            rank_HW, edge_HW = _rank(seen, item), _edge(seen, item)
        except SegkitError:
            # Told among the findings already.
            continue
        if edge_HW.any() and rank_HW.any():
            fits.append(_fit_by_place(rank_HW, edge_HW))
    return agreement_of(fits) if len(fits) >= LEAST_PAIRS else None


def agreement_of(fits: Sequence[np.ndarray]) -> EdgeAgreement:
    """What the fits of several pairs say, each by place (down, right) from -REACH to REACH."""
    fit_NPP = np.array(fits)
    down_PP, right_PP = np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1] / SIDE
    away_PP = np.hypot(down_PP, right_PP)
    best = np.unravel_index(np.nanargmax(np.nanmean(fit_NPP, axis=0)), away_PP.shape)
    gain_N = fit_NPP[:, best[0], best[1]] - fit_NPP[:, REACH, REACH]
    own_N = np.nanmax(np.where(away_PP <= NEAR, fit_NPP, -1), axis=(1, 2))
    further = away_PP > FAR
    as_good_N = (fit_NPP[:, further] >= own_N[:, None]).mean(axis=1)
    return EdgeAgreement(
        float(as_good_N.mean()),
        # Where the outlines fit best is where they should be: the masks lie the other way.
        -float(down_PP[best]),
        -float(right_PP[best]),
        float(np.nanmean(gain_N)),
        float(np.nanstd(gain_N, ddof=1) / np.sqrt(len(fits))),
        len(fits),
    )


def edge_finding(agreement: EdgeAgreement | None) -> list[Finding]:
    """A warning where masks lie beside their pictures, or fit them no better than anywhere."""
    if agreement is None:
        return []
    if agreement.is_shifted:
        low = "low" if agreement.down > 0 else "high"
        right = "right" if agreement.right > 0 else "left"
        what = (
            f"the masks lie beside their pictures: {abs(agreement.down):.1%} of the height too "
            f"{low} and {abs(agreement.right):.1%} of the width too far {right}, in "
            f"{agreement.pairs} pairs."
        )
        fix = "Look at the contact sheet; if that is so, export masks and images from one source."
        return [Finding("SK-D032", what, fix, (), WARNING)]
    if agreement.anywhere < ANYWHERE:
        return []
    what = (
        "the masks' outlines follow no edges of their pictures: moved to other places, they fit as "
        f"well in {agreement.anywhere:.0%} of them, where a few percent are usual (over "
        f"{agreement.pairs} pairs)."
    )
    fix = (
        "Look at the contact sheet: masks may be turned, mirrored or paired with other pictures. "
        "Where classes have no visible borders, all is well."
    )
    return [Finding("SK-D032", what, fix, (), WARNING)]


def _fit_by_place(rank_HW: np.ndarray, edge_HW: np.ndarray) -> np.ndarray:
    """(P, P) mean rank below the outlines moved down and right by -REACH to REACH; NaN for few.

    The sums over all places are correlations, which Fourier transforms give at once.
    """
    size = (2 * SIDE, 2 * SIDE)
    known_HW = np.zeros((SIDE, SIDE))
    known_HW[4:-4, 4:-4] = 1
    outline = np.conj(np.fft.rfft2(edge_HW.astype(float), size))
    places = np.ix_(np.arange(-REACH, REACH + 1), np.arange(-REACH, REACH + 1))
    sums_PP, counts_PP = (
        np.fft.irfft2(np.fft.rfft2(plane_HW, size) * outline, size)[places]
        for plane_HW in (rank_HW * known_HW, known_HW)
    )
    return np.where(counts_PP > 20, sums_PP / np.maximum(counts_PP, 1e-9), np.nan)


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
