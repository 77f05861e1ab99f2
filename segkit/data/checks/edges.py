"""Whether masks lie on their images: do the masks' outlines follow edges of the pictures?

The outlines of each mask are moved about over its picture, up to a fifth of its side in every
direction, and at each place it is asked how strong the picture's edges are below them, counting
only what runs along the outline (both as structure tensors: Di Zenzo 1986 for the colours). Where a
band is ignored, the border is somewhere within: its middle is taken. Masks that fit are best where
they are. Masks that were exported with a shift are best elsewhere, all at the same place; masks
that were turned, or belong to other pictures, are as good anywhere.

Measured on nine real sets in draws of 5 to 12 pairs (tests/data/test_shifted_masks.py): of 432
draws of masks as they are none was warned of; of 1,296 with every mask moved by 5 % of the side
99.8 % were, in each set and direction 96 % or more; of 864 mirrored or turned ones 99 %. Limits
that are found on eight of the sets tell the same of the ninth. Shifts of each mask its own are
mostly not found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from segkit.data.files.images import read_image
from segkit.data.files.masks import nearest
from segkit.data.findings import WARNING, Finding
from segkit.data.masks.label_rule import Labelling
from segkit.data.opening.fitting import Item, stored_values
from segkit.data.opening.inspection import Inspection
from segkit.errors import SegkitError

SIDE = 256
PAIRS = 48
LEAST_PAIRS = 5
# Pixels of SIDE that outlines are moved at most; and a size that Fourier transforms are quick at.
REACH, WRAP = 51, 320
# Pixels of SIDE at the rim, of which the blur and the gradient know too little.
RIM = 4
# Pixels of SIDE from the nearest label: bands that are ignored up to twice as wide are a border.
BAND = 10
# Widths of the blur, in pixels of SIDE, before the gradient: of pictures, and of labels.
OF_PICTURES, OF_LABELS = 1.0, 2.0
# Outlines shorter than this many pixels say nothing of a place.
LEAST_OUTLINE = 20
# Below this share of the side a better place is the width of an outline; from FAR on, another one.
NEAR, FAR, SHIFTED = 0.0151, 0.03, 0.025
# Standard errors, and gain in strength, by which the better place is better: masks moved by 5 %
# reach 4.5 and 0.13 at least; masks that fit are never better at another place.
CLEAR, GAIN = 4.0, 0.1
# Share of the places further off at which outlines do as well: real sets reach 0.001, mirrored and
# turned ones 0.12 to 0.45 mostly.
ANYWHERE = 0.05


@dataclass(frozen=True)
class EdgeAgreement:
    """How well the outlines of masks follow edges of their pictures.

    anywhere   mean share of places further off at which they do as well as where they are, 0 to 1
    down       where they do best, as a share of the height, positive downwards
    right      as a share of the width
    gain       how much better they do there, as rank of the gradient along them, 0 to 1
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
    """Of pairs spread over the set; None where too few have edges to tell.

    And None where the masks are not understood yet: what is a border in them is not known.
    """
    items = list(seen.items.values())
    if seen.labelling is None:
        return None
    fits = []
    for item in items[:: max(1, len(items) // PAIRS)][:PAIRS]:
        try:
            fit_PP = fit_by_place(_picture(seen, item), *_labels(seen, item, seen.labelling))
        except SegkitError:
            # Told among the findings already.
            continue
        if fit_PP is not None:
            fits.append(fit_PP)
    return agreement_of(fits) if len(fits) >= LEAST_PAIRS else None


def fit_by_place(
    image_HWC: np.ndarray, labels_HW: np.ndarray, ignored_HW: np.ndarray
) -> np.ndarray | None:
    """(P, P) how strong the picture's edges are along the outlines, by where those are moved to.

    Down and right by -REACH to REACH; from 0, no edge or hardly an outline left in the
    picture, to 1. None for a picture or labels without any.

    labels_HW    any numbers, of any size; a border lies where they differ
    ignored_HW   bool: where they are no label
    """
    outline_3HW = _outline(labels_HW, ignored_HW)
    edges_3HW = _edges(image_HWC)
    if not outline_3HW.any() or not edges_3HW.any():
        return None
    # The sums over all places are correlations, which Fourier transforms give at once.
    known_HW = np.zeros((SIDE, SIDE))
    known_HW[RIM:-RIM, RIM:-RIM] = 1
    size, places = (WRAP, WRAP), np.ix_(*2 * [np.arange(-REACH, REACH + 1)])
    outline_3FF = np.conj(np.fft.rfft2(outline_3HW, size))
    sums_FF = (np.fft.rfft2(edges_3HW * known_HW, size) * outline_3FF).sum(axis=0)
    counts_FF = np.fft.rfft2(known_HW, size) * outline_3FF[:2].sum(axis=0)
    sums_PP, counts_PP = (np.fft.irfft2(both, size)[places] for both in (sums_FF, counts_FF))
    if counts_PP[REACH, REACH] <= LEAST_OUTLINE:
        return None
    return np.where(counts_PP > LEAST_OUTLINE, sums_PP / np.maximum(counts_PP, 1e-9), 0)


def agreement_of(fits: Sequence[np.ndarray]) -> EdgeAgreement:
    """What the fits of several pairs say, each by place (down, right) from -REACH to REACH."""
    fit_NPP = np.array(fits)
    down_PP, right_PP = np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1] / SIDE
    away_PP = np.hypot(down_PP, right_PP)
    best = np.unravel_index(fit_NPP.mean(axis=0).argmax(), away_PP.shape)
    gain_N = fit_NPP[:, best[0], best[1]] - fit_NPP[:, REACH, REACH]
    own_N = np.max(np.where(away_PP <= NEAR, fit_NPP, -1), axis=(1, 2))
    further = away_PP > FAR
    as_good_N = (fit_NPP[:, further] >= own_N[:, None]).mean(axis=1)
    return EdgeAgreement(
        float(as_good_N.mean()),
        # Where the outlines fit best is where they should be: the masks lie the other way.
        -float(down_PP[best]),
        -float(right_PP[best]),
        float(gain_N.mean()),
        float(gain_N.std(ddof=1) / np.sqrt(len(fits))),
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
        f"well in {agreement.anywhere:.0%} of them, where next to none is usual (over "
        f"{agreement.pairs} pairs)."
    )
    fix = (
        "Look at the contact sheet: masks may be turned, mirrored or paired with other pictures. "
        "Where classes have no visible borders, all is well."
    )
    return [Finding("SK-D032", what, fix, (), WARNING)]


def _picture(seen: Inspection, item: Item) -> np.ndarray:
    """(H, W, C) the picture as stored, without alpha."""
    image_HWC = read_image(item.pair.image, upright=item.image_upright, reading=seen.reading)
    return image_HWC[:, :, :3]


def _labels(seen: Inspection, item: Item, found: Labelling) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) labels, or the numbers of objects; and bool: where they are ignored."""
    values_HW = stored_values(item, seen.reading, found.rule.colour)
    labels_HW = found.rule.labels(values_HW, item.pair.mask)
    ignored_HW: np.ndarray = labels_HW == found.ignore_index
    return (values_HW if found.rule.objects else labels_HW), ignored_HW


def _edges(image_HWC: np.ndarray) -> np.ndarray:
    """(3, SIDE, SIDE) the picture's structure tensor; its trace is the gradient's rank, 0 to 1."""
    size = (SIDE, SIDE)
    small_HWC = cv2.resize(image_HWC.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    xx_HW, xy_HW, yy_HW = _tensor(small_HWC.reshape(SIDE, SIDE, -1), OF_PICTURES)
    strength_HW = xx_HW + yy_HW
    if strength_HW.max() <= 0:
        return np.zeros((3, SIDE, SIDE))
    order = strength_HW.ravel().argsort().argsort()
    rank_HW = order.reshape(SIDE, SIDE) / (SIDE * SIDE - 1)
    # Twice the mixed part: the product of two tensors has it in both corners.
    return np.stack([xx_HW, yy_HW, 2 * xy_HW]) * rank_HW / np.maximum(strength_HW, 1e-9)


def _outline(labels_HW: np.ndarray, ignored_HW: np.ndarray) -> np.ndarray:
    """(3, SIDE, SIDE) where a neighbour's label differs: the tensor of the direction across."""
    present, place = np.unique(nearest(labels_HW, SIDE, SIDE), return_inverse=True)
    number_HW, unknown_HW = _closed(place.reshape(SIDE, SIDE), nearest(ignored_HW, SIDE, SIDE))
    edge_HW = np.zeros((SIDE, SIDE), bool)
    edge_HW[:, 1:] |= number_HW[:, 1:] != number_HW[:, :-1]
    edge_HW[1:] |= number_HW[1:] != number_HW[:-1]
    edge_HW &= cv2.dilate(unknown_HW.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    edge_HW[:RIM] = edge_HW[-RIM:] = False
    edge_HW[:, :RIM] = edge_HW[:, -RIM:] = False
    # Any colours do: what differs is what counts.
    colours = np.random.default_rng(0).random((len(present), 3), np.float32)
    xx_HW, xy_HW, yy_HW = _tensor(colours[number_HW], OF_LABELS)
    return np.stack([xx_HW, yy_HW, xy_HW]) * edge_HW / np.maximum(xx_HW + yy_HW, 1e-12)


def _closed(number_HW: np.ndarray, ignored_HW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The labels with narrow ignored bands given to the nearest; and where there is still none."""
    if not ignored_HW.any() or ignored_HW.all():
        return number_HW, ignored_HW
    away_HW, nearest_HW = cv2.distanceTransformWithLabels(
        ignored_HW.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    number_of = np.zeros(int(nearest_HW.max()) + 1, int)
    number_of[nearest_HW[~ignored_HW]] = number_HW[~ignored_HW]
    return number_of[nearest_HW], away_HW > BAND


def _tensor(picture_HWC: np.ndarray, blur: float) -> np.ndarray:
    """(3, H, W) squares and product of the gradient, xx, xy, yy, summed over the channels."""
    smooth_HWC = cv2.GaussianBlur(picture_HWC, (0, 0), blur).reshape(picture_HWC.shape)
    right_HWC = cv2.Sobel(smooth_HWC, cv2.CV_32F, 1, 0).reshape(picture_HWC.shape)
    down_HWC = cv2.Sobel(smooth_HWC, cv2.CV_32F, 0, 1).reshape(picture_HWC.shape)
    products = (right_HWC * right_HWC, right_HWC * down_HWC, down_HWC * down_HWC)
    return np.stack([product_HWC.sum(axis=2) for product_HWC in products])
