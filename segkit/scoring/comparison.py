"""Several models on the same images: their scores, and differences with paired intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segkit.errors import UsageError
from segkit.scoring.details import Details
from segkit.scoring.evaluate_model import Evaluation
from segkit.scoring.intervals import difference_interval, mean_iou, score_interval
from segkit.scoring.score_tables import Interval

COLUMNS = ("run", "mean_iou", "low", "high", "difference", "difference_low", "difference_high")
METHOD = (
    "The difference is to the first run. Its 95 % interval is paired: both runs are scored on the "
    "same draws of the images, so that what makes an image hard for both falls out."
)


@dataclass(frozen=True)
class Compared:
    """A run's mean IoU, and how far it lies above the first run's; None for the first."""

    run: str
    score: Interval
    difference: Interval | None

    @property
    def verdict(self) -> str:
        """In words: whether the interval of the difference leaves 0 out."""
        if self.difference is None or self.difference.low != self.difference.low:
            return ""
        if self.difference.low > 0:
            return "higher"
        return "lower" if self.difference.high < 0 else "not told apart"

    def as_row(self) -> list[object]:
        cells: list[object] = [self.run]
        for each in (self.score, self.difference):
            ends = (None,) * 3 if each is None else (each.value, each.low, each.high)
            cells += [None if end is None or end != end else round(end, 6) for end in ends]
        return cells


def compared(evaluations: Sequence[Evaluation]) -> list[Compared]:
    """Each evaluation, kept with details, beside the first.

    Raises UsageError SK-C007 where they scored other images or other classes.
    """
    first = evaluations[0]
    base = details_of(first).images
    found = []
    for each in evaluations:
        images = details_of(each).images
        _refuse_unlike(first, each)
        value = float(mean_iou(images.overlap.summed()))
        score = Interval(value, *map(float, score_interval(images.overlap, mean_iou)))
        difference = None
        if each is not first:
            ends = difference_interval(base.overlap, images.overlap, mean_iou)
            ends = ends if len(images.names) > 1 else np.full(2, np.nan)
            gap = value - float(mean_iou(base.overlap.summed()))
            difference = Interval(gap, *map(float, ends))
        found.append(Compared(each.model, score, difference))
    return found


def details_of(evaluation: Evaluation) -> Details:
    """What it keeps beyond its scores; only evaluations that keep it are compared."""
    if evaluation.details is None:
        raise ValueError("evaluations are compared by the details they keep")
    return evaluation.details


def _refuse_unlike(first: Evaluation, other: Evaluation) -> None:
    one, two = details_of(first).images, details_of(other).images
    if one.names != two.names or (one.overlap.truth_XK != two.overlap.truth_XK).any():
        raise UsageError(
            "SK-C007",
            f"{first.model} was scored on {len(one.names)} images of {first.data}, and "
            f"{other.model} on {len(two.names)} of {other.data}: they are not the same images with "
            "the same truth.",
            "Score all runs on one folder: segkit evaluate RUN RUN --data DIR --split all.",
        )
