"""How far a score would move with other images of the same kind: the bootstrap over images."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from segkit.scoring.per_image import Overlap, Scores, mean_over_classes

DRAWS, SEED, LEVEL = 2000, 0, 0.95
# Weights held at once.
BLOCK = 2**22
FEW_IMAGES = 20
METHOD = (
    f"95 % intervals: the images are drawn with replacement {DRAWS:,} times (seed {SEED}), all "
    "counts of a draw are summed and scored, and the interval reaches from the 2.5th to the 97.5th "
    "percentile of the draws (Efron & Tibshirani 1993, chapter 13)."
)

Score = Callable[[Overlap], Scores]


def mean_iou(overlap: Overlap) -> Scores:
    return mean_over_classes(overlap.iou_XK)


def mean_dice(overlap: Overlap) -> Scores:
    return mean_over_classes(overlap.dice_XK)


def accuracy(overlap: Overlap) -> Scores:
    return overlap.accuracy_X


def draws(images: int, count: int = DRAWS, seed: int = SEED) -> Iterator[NDArray[np.int64]]:
    """Blocks (D, N) of how often each image is in a draw; the same for one number of images."""
    random = np.random.default_rng(seed)
    at_once = max(1, BLOCK // images)
    for start in range(0, count, at_once):
        yield random.multinomial(images, np.full(images, 1 / images), min(at_once, count - start))


def drawn(overlap: Overlap, score: Score) -> Scores:
    """The score of every draw: (D,) or, of a score per class, (D, K)."""
    return np.concatenate([score(overlap.summed(w_DN)) for w_DN in draws(len(overlap.hit_XK))])


def interval(values_DX: Scores, level: float = LEVEL) -> Scores:
    """(low, high) of the draws, along the first dimension; NaN where none is defined."""
    tail = 50 * (1 - level)
    flat_DX = values_DX.reshape(len(values_DX), -1)
    ends_2X = np.full((2, flat_DX.shape[1]), np.nan)
    for place, column_D in enumerate(flat_DX.T):
        defined_D = column_D[~np.isnan(column_D)]
        if len(defined_D):
            ends_2X[:, place] = np.percentile(defined_D, [tail, 100 - tail])
    return ends_2X.reshape(2, *values_DX.shape[1:])


def score_interval(overlap: Overlap, score: Score) -> Scores:
    """(low, high) of a score; NaN for a single image, of which nothing can be drawn."""
    values_DX = drawn(overlap, score)
    return interval(values_DX) if len(overlap.hit_XK) > 1 else interval(values_DX * np.nan)


def difference_interval(one: Overlap, other: Overlap, score: Score) -> Scores:
    """(low, high) of `other`'s score less `one`'s on the same images: both see the same draws."""
    return interval(drawn(other, score) - drawn(one, score))
