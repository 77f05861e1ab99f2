"""Single images as cases: which ones to look at, and pictures of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from segkit.data.opening.opened import Data
from segkit.inference.predictor import Predictor
from segkit.inference.separated import find
from segkit.interfaces import Dataset, Sample
from segkit.reporting.pictures import Picture
from segkit.reporting.sheets import sample_sheet
from segkit.scoring.per_image import ImageCounts

WORST, MEDIAN = 6, 3


@dataclass(frozen=True)
class Case:
    """An image with its truth, its prediction and the errors beside each other.

    kind    worst, median, or best: above the middle where there are few images
    score   the image's mean IoU over the classes in its truth or prediction
    """

    kind: str
    name: str
    score: float
    sheet: Picture


def chosen(counts: ImageCounts) -> list[tuple[str, int]]:
    """(kind, row) of the images with the lowest score and of those in the middle; of few images
    all. Images without a score are none.
    """
    score_N = counts.miou_N
    order = [int(row) for row in np.argsort(score_N, kind="stable") if not np.isnan(score_N[row])]
    count = len(order)
    if count > WORST + MEDIAN:
        middle = count // 2 - MEDIAN // 2
        kinds = {"worst": order[:WORST], "median": order[middle : middle + MEDIAN]}
    elif count > 2:
        low, high = (count - 1) // 2, count // 2 + 1
        kinds = {"worst": order[:low], "median": order[low:high], "best": order[high:]}
    else:
        kinds = {"worst": order[:1], "best": order[1:]}
    return [(kind, row) for kind, rows in kinds.items() for row in rows]


def cases(
    counts: ImageCounts, dataset: Dataset, order: Sequence[int], data: Data, predictor: Predictor
) -> Iterator[Case]:
    """Pictures of the images that are chosen; `order`: indices in the order of evaluation."""
    for kind, row in chosen(counts):
        sample = dataset[order[counts.places[row]]]
        yield Case(
            kind, counts.names[row], float(counts.miou_N[row]), sheet(sample, data, predictor)
        )


def sheet(sample: Sample, data: Data, predictor: Predictor) -> Picture:
    """A sample's image, truth, prediction and errors."""
    found = find(predictor, sample.image, data.full_scale)
    return sample_sheet(
        sample.image,
        sample.mask,
        found.label_HW,
        data.palette,
        data.classes,
        full_scale=data.full_scale,
        ignore_index=data.ignore_index,
        background=data.background,
        true_number_HW=sample.instances,
        number_HW=found.numbers(predictor, data.background),
    )
