"""The scores of an evaluation as rows: of all images, of each class, of each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from segkit.scoring.details import Details
from segkit.scoring.intervals import Score, accuracy, mean_dice, mean_iou, score_interval
from segkit.scoring.per_image import ImageCounts, Overlap, Scores

Row = list[object]

# The scores of all classes together; the first ranks models and images.
OVERALL: dict[str, Score] = {
    "mean IoU": mean_iou,
    "mean Dice": mean_dice,
    "pixel accuracy": accuracy,
}
OF_A_CLASS: dict[str, Callable[[Overlap], Scores]] = {
    "iou": lambda overlap: overlap.iou_XK,
    "dice": lambda overlap: overlap.dice_XK,
    "precision": lambda overlap: overlap.precision_XK,
    "recall": lambda overlap: overlap.recall_XK,
}


@dataclass(frozen=True)
class Interval:
    """A score with the ends of its 95 % interval, NaN where undefined."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        ends = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if each != each else each for name, each in ends.items()}


def overall(images: ImageCounts) -> dict[str, Interval]:
    """Of all images together, from their summed counts."""
    together = images.overlap.summed()
    return {
        name: Interval(float(score(together)), *map(float, score_interval(images.overlap, score)))
        for name, score in OVERALL.items()
    }


def of_classes(images: ImageCounts) -> dict[str, list[Interval]]:
    """By score, an interval for each class."""
    together = images.overlap.summed()
    found = {}
    for name, score in OF_A_CLASS.items():
        low_K, high_K = score_interval(images.overlap, score)
        each = zip(score(together).tolist(), low_K.tolist(), high_K.tolist(), strict=True)
        found[name] = [Interval(*values) for values in each]
    return found


def class_rows(
    images: ImageCounts, classes: Sequence[str], scores: dict[str, list[Interval]]
) -> list[Row]:
    """classes.csv with its header."""
    header: Row = ["class", "label", "images", "pixels", "share"]
    for name in scores:
        header += [name, f"{name}_low", f"{name}_high"]
    truth_NK = images.overlap.truth_XK
    pixels_K, in_images_K = truth_NK.sum(axis=0), (truth_NK > 0).sum(axis=0)
    rows = [header]
    for label, name in enumerate(classes):
        share = pixels_K[label] / max(pixels_K.sum(), 1)
        row: Row = [name, label, int(in_images_K[label]), int(pixels_K[label]), rounded(share)]
        for each in scores.values():
            row += [
                rounded(value) for value in (each[label].value, each[label].low, each[label].high)
            ]
        rows.append(row)
    return rows


def image_rows(details: Details, classes: Sequence[str]) -> list[Row]:
    """images.csv with its header, sorted by name."""
    images, overlap = details.images, details.images.overlap
    known = details.calibration is not None
    header: Row = ["image", "pixels", "mean_iou", "mean_dice", "pixel_accuracy"]
    header += ["mean_certainty"] * known
    rows = [[*header, *(f"iou/{name}" for name in classes)]]
    dice_N, iou_NK = mean_dice(overlap), overlap.iou_XK
    for at, name in enumerate(images.names):
        scores = (images.miou_N[at], dice_N[at], overlap.accuracy_X[at])
        row: Row = [name, int(overlap.pixels_X[at]), *map(rounded, scores)]
        row += [rounded(images.confidence_N[at])] * known
        rows.append([*row, *map(rounded, iou_NK[at])])
    return rows


def rounded(value: float | np.floating) -> float | None:
    """To six decimals; None, which is an empty cell, where it is not defined."""
    return None if value != value else round(float(value), 6)
