"""Scores of one image at a time, averaged over the images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from segkit.api import ConfusionMatrix
from segkit_metrics.choices import counted_classes
from segkit_metrics.maps import require_same_shape


class PerImageMeanIoU:
    """Mean IoU of each image, over the classes it holds or is given, then the mean over images.

    classes  classes in the mean, all where not given
    """

    higher_is_better = True
    convention = (
        "per image the mean IoU over the classes in its prediction or truth (the ignored label is "
        "none), then the mean over the images where that is defined; `miou_image/images` is their "
        "number"
    )

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        classes: tuple[int, ...] | None = None,
    ) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.counted = counted_classes("miou_image", classes, num_classes, ignore_index)
        self.state = {
            "sum": torch.zeros((), dtype=torch.float64),
            "images": torch.zeros((), dtype=torch.int64),
            "out_of_range": torch.zeros((), dtype=torch.int64),
        }

    def update(self, label_BHW: Tensor, target_BHW: Tensor) -> None:
        counts_BKK, wrong = image_confusions(
            label_BHW, target_BHW, self.num_classes, self.ignore_index
        )
        correct_BK = counts_BKK.diagonal(dim1=1, dim2=2).double()
        union_BK = (counts_BKK.sum(1) + counts_BKK.sum(2)).double() - correct_BK
        iou_BK = torch.where(union_BK > 0, correct_BK / union_BK, math.nan)
        mean_B = iou_BK[:, self.counted].nanmean(dim=1)
        self.state["sum"] += mean_B.nansum()
        self.state["images"] += mean_B.isfinite().sum()
        self.state["out_of_range"] += wrong

    def compute(self) -> dict[str, float]:
        if wrong := int(self.state["out_of_range"]):
            raise ConfusionMatrix.out_of_range(wrong, self.num_classes, self.ignore_index)
        images = int(self.state["images"]) or math.nan
        return {
            "miou_image": float(self.state["sum"]) / images,
            "miou_image/images": float(images),
        }

    def reset(self) -> None:
        for each in self.state.values():
            each.zero_()


def image_confusions(
    label_BHW: Tensor, target_BHW: Tensor, num_classes: int, ignore_index: int | None
) -> tuple[Tensor, int]:
    """A confusion matrix per image (row: truth), on the host, and how many labels are no class."""
    require_same_shape(label_BHW, target_BHW)
    bins = []
    for label_HW, target_HW in zip(label_BHW, target_BHW, strict=True):
        matrix = ConfusionMatrix(num_classes, ignore_index)
        matrix.update(label_HW, target_HW)
        bins.append(matrix.bins)
    bins_BX = torch.stack(bins).cpu()
    counts_BKK = bins_BX[:, :-2].reshape(-1, num_classes, num_classes)
    return counts_BKK, int(bins_BX[:, -1].sum())
