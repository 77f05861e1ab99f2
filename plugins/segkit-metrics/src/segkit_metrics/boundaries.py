"""Scores of boundaries: boundary IoU and the 95 % Hausdorff distance."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from segkit_metrics.choices import counted_classes, names_of_classes, positive
from segkit_metrics.maps import NOWHERE, label_maps, near_boundary


class BoundaryIoU:
    """IoU of the pixels near boundaries (Cheng et al. 2021, arXiv:2103.16562), the mean first.

    A pixel is near the boundary of its class where a pixel of another class, an ignored pixel or
    the image's end is within the width, counted in king's moves; prediction and truth each have
    their own such pixels.

    ratio        the width as a share of the image's diagonal, at least 1 pixel
    width        the width in pixels instead
    classes      classes in the mean, all where not given
    class_names  a name per class, for the scores' names
    """

    higher_is_better = True
    convention = (
        "per class, intersection over union of the pixels near the boundary of prediction and "
        "truth, summed over all images, then the mean over classes; a class absent from both, or "
        "that is the ignored label, is n/a"
    )

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        ratio: float = 0.02,
        width: int | None = None,
        classes: tuple[int, ...] | None = None,
        class_names: tuple[str, ...] | None = None,
    ) -> None:
        positive("boundary_iou", "ratio", ratio)
        if width is not None:
            positive("boundary_iou", "width", width)
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.ratio, self.width = ratio, width
        self.counted = counted_classes("boundary_iou", classes, num_classes, ignore_index)
        self.class_names = names_of_classes("boundary_iou", class_names, num_classes)
        self.state = {
            name: torch.zeros(num_classes, dtype=torch.int64) for name in ("shared_K", "either_K")
        }

    def update(self, label_BHW: Tensor, target_BHW: Tensor) -> None:
        width = self.width or max(1, round(self.ratio * math.hypot(*target_BHW.shape[-2:])))
        for maps in label_maps(label_BHW, target_BHW, self.num_classes, self.ignore_index):
            label_HW, target_HW = (
                np.where(near_boundary(map_HW, width), map_HW, -1) for map_HW in maps
            )
            sizes = [
                np.bincount(kept[kept >= 0], minlength=self.num_classes)
                for kept in (label_HW, target_HW, label_HW[label_HW == target_HW])
            ]
            predicted_K, truth_K, shared_K = (torch.from_numpy(each) for each in sizes)
            if self.ignore_index is not None and 0 <= self.ignore_index < self.num_classes:
                predicted_K[self.ignore_index] = 0
            self.state["shared_K"] += shared_K
            self.state["either_K"] += predicted_K + truth_K - shared_K

    def compute(self) -> dict[str, float]:
        shared_K, either_K = (self.state[name].double() for name in ("shared_K", "either_K"))
        iou_K = torch.where(either_K > 0, shared_K / either_K, math.nan)
        scores = {"boundary_iou": float(iou_K[self.counted].nanmean())}
        for name, iou in zip(self.class_names, iou_K, strict=True):
            scores[f"boundary_iou/{name}"] = float(iou)
        return scores

    def reset(self) -> None:
        for each in self.state.values():
            each.zero_()


class Hausdorff95:
    """95 % Hausdorff distance in pixels, per image and class, smaller is better; first the mean.

    From every surface pixel of the prediction to the nearest of the truth, and the other way round:
    the greater of the two 95th percentiles (linearly interpolated). Surface pixels have a neighbour
    above, below, left or right that is of another class, ignored, or beyond the image's end.
    Where only one of prediction and truth has the class, the distance is the image's diagonal.

    classes      classes in the mean, all where not given
    class_names  a name per class, for the scores' names
    """

    higher_is_better = False
    convention = (
        "per image and class the greater of the two directed 95th percentiles of surface "
        "distances, in pixels, the image's diagonal where only one has the class; per class the "
        "mean over images, then the mean over classes; a class absent from both everywhere, or "
        "that is the ignored label, is n/a"
    )

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        classes: tuple[int, ...] | None = None,
        class_names: tuple[str, ...] | None = None,
    ) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.counted = counted_classes("hausdorff95", classes, num_classes, ignore_index)
        self.class_names = names_of_classes("hausdorff95", class_names, num_classes)
        self.state = {
            "sum_K": torch.zeros(num_classes, dtype=torch.float64),
            "images_K": torch.zeros(num_classes, dtype=torch.int64),
        }

    def update(self, label_BHW: Tensor, target_BHW: Tensor) -> None:
        for label_HW, target_HW in label_maps(
            label_BHW, target_BHW, self.num_classes, self.ignore_index
        ):
            for index in np.union1d(label_HW, target_HW):
                if index not in (NOWHERE, self.ignore_index):
                    distance = hausdorff95(label_HW == index, target_HW == index)
                    self.state["sum_K"][int(index)] += distance
                    self.state["images_K"][int(index)] += 1

    def compute(self) -> dict[str, float]:
        images_K = self.state["images_K"]
        mean_K = torch.where(images_K > 0, self.state["sum_K"] / images_K, math.nan)
        scores = {"hausdorff95": float(mean_K[self.counted].nanmean())}
        for name, mean in zip(self.class_names, mean_K, strict=True):
            scores[f"hausdorff95/{name}"] = float(mean)
        return scores

    def reset(self) -> None:
        for each in self.state.values():
            each.zero_()


def hausdorff95(one_HW: np.ndarray, other_HW: np.ndarray) -> float:
    """Between the surfaces of two masks, in pixels; the diagonal where only one is empty."""
    if not (one_HW.any() and other_HW.any()):
        return math.hypot(*one_HW.shape)
    # Nothing outside of the box around both masks has a part in their distance.
    box = bounding_box(one_HW | other_HW)
    one_HW, other_HW = surface(one_HW[box]), surface(other_HW[box])
    there = np.percentile(distance_to(other_HW)[one_HW], 95)
    back = np.percentile(distance_to(one_HW)[other_HW], 95)
    return float(max(there, back))


def bounding_box(mask_HW: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns that hold the whole mask, which must not be empty."""
    rows, columns = (np.flatnonzero(mask_HW.any(axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def surface(mask_HW: np.ndarray) -> np.ndarray:
    """The mask's pixels with a neighbour, in the four directions, that is not in the mask."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inner_HW = cv2.erode(
        mask_HW.astype(np.uint8), cross, borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    return np.asarray(mask_HW & (inner_HW == 0))


def distance_to(place_HW: np.ndarray) -> np.ndarray:
    """Every pixel's distance to the nearest True one (there must be one), between centres."""
    distance_HW = cv2.distanceTransform(
        (~place_HW).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    # OpenCV's square root varies in its last bit from call to call; the squares are whole numbers.
    return np.sqrt(np.rint(np.square(distance_HW, dtype=np.float64)))
