"""Scores for semantic segmentation, each with its convention, for segkit."""

from __future__ import annotations

from segkit.api import Factory, Metric, hookimpl
from segkit_metrics.boundaries import BoundaryIoU, Hausdorff95
from segkit_metrics.calibration import CalibrationError
from segkit_metrics.objects import AveragePrecision, ObjectJaccard, PanopticQuality
from segkit_metrics.overlap import (
    Dice,
    FrequencyWeightedIoU,
    IoU,
    MeanIoU,
    PixelAccuracy,
    Precision,
    Recall,
)
from segkit_metrics.per_image import PerImageMeanIoU

METRICS: dict[str, Factory[Metric]] = {
    "miou": MeanIoU,
    "iou": IoU,
    "dice": Dice,
    "precision": Precision,
    "recall": Recall,
    "pixel_accuracy": PixelAccuracy,
    "frequency_weighted_iou": FrequencyWeightedIoU,
    "miou_image": PerImageMeanIoU,
    "boundary_iou": BoundaryIoU,
    "hausdorff95": Hausdorff95,
    "ece": CalibrationError,
    "seg": ObjectJaccard,
    "ap": AveragePrecision,
    "pq": PanopticQuality,
}


@hookimpl
def segkit_metric(name: str) -> Factory[Metric] | None:
    return METRICS.get(name)
