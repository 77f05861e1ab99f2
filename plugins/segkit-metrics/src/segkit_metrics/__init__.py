"""Scores for semantic segmentation from one confusion matrix, for segkit."""

from __future__ import annotations

from segkit.api import Factory, hookimpl
from segkit_metrics.overlap import (
    Dice,
    FrequencyWeightedIoU,
    IoU,
    MeanIoU,
    PixelAccuracy,
    Precision,
    Recall,
)

METRICS: dict[str, Factory] = {
    "miou": MeanIoU,
    "iou": IoU,
    "dice": Dice,
    "precision": Precision,
    "recall": Recall,
    "pixel_accuracy": PixelAccuracy,
    "frequency_weighted_iou": FrequencyWeightedIoU,
}


@hookimpl
def segkit_metric(name: str) -> Factory | None:
    return METRICS.get(name)
