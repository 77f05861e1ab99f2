"""The Cell Tracking Challenge's segmentation score."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from segkit_metrics.choices import one_class
from segkit_metrics.maps import NOWHERE, label_maps


class ObjectJaccard:
    """SEG of the Cell Tracking Challenge (Maska et al. 2014): mean Jaccard index of true objects.

    A true object is matched by the predicted one that covers more than half of it; its score is
    their Jaccard index, or 0 without a match. Predicted objects are the 8-connected components of
    each predicted class but the background; so are true ones where the data have no instances.
    Ignored pixels belong to no object, nor do those predicted as the ignored label.

    background  the class that is no object
    """

    higher_is_better = True
    needs_instances = True
    convention = (
        "mean over all true objects of all images of the Jaccard index with the predicted object "
        "that covers more than half, 0 without one; `seg/objects` is their number; n/a without any"
    )

    def __init__(
        self, num_classes: int, ignore_index: int | None = None, *, background: int = 0
    ) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.background = one_class("seg", "background", background, num_classes)
        self.state = {
            "sum": torch.zeros((), dtype=torch.float64),
            "objects": torch.zeros((), dtype=torch.int64),
        }

    def update(
        self, label_BHW: Tensor, target_BHW: Tensor, instances_BHW: Tensor | None = None
    ) -> None:
        maps = label_maps(label_BHW, target_BHW, self.num_classes, self.ignore_index)
        for image, (label_HW, target_HW) in enumerate(maps):
            true_HW = self._components(target_HW)
            if instances_BHW is not None:
                true_HW = instances_BHW[image].cpu().numpy() * (target_HW != NOWHERE)
            jaccard_N = matched_jaccard(self._components(label_HW), true_HW)
            self.state["sum"] += jaccard_N.sum()
            self.state["objects"] += len(jaccard_N)

    def _components(self, label_HW: np.ndarray) -> np.ndarray:
        objects_HW = np.zeros(label_HW.shape, dtype=np.int64)
        for label in np.unique(label_HW):
            if label not in (self.background, self.ignore_index, NOWHERE):
                mask_HW = (label_HW == label).astype(np.uint8)
                part_HW = cv2.connectedComponents(mask_HW, connectivity=8)[1]
                objects_HW += np.where(part_HW > 0, part_HW + objects_HW.max(), 0)
        return objects_HW

    def compute(self) -> dict[str, float]:
        objects = int(self.state["objects"]) or math.nan
        return {"seg": float(self.state["sum"]) / objects, "seg/objects": float(objects)}

    def reset(self) -> None:
        for each in self.state.values():
            each.zero_()


def matched_jaccard(predicted_HW: np.ndarray, true_HW: np.ndarray) -> np.ndarray:
    """Per true object, the Jaccard index with its match, 0 without; maps are 0 between objects."""
    true_numbers, true_N = np.unique(true_HW, return_inverse=True)
    predicted_numbers, predicted_N = np.unique(predicted_HW, return_inverse=True)
    pair_N = true_N.ravel() * len(predicted_numbers) + predicted_N.ravel()
    shared_TP = np.bincount(pair_N, minlength=len(true_numbers) * len(predicted_numbers))
    shared_TP = shared_TP.reshape(len(true_numbers), len(predicted_numbers))
    size_T1, size_1P = shared_TP.sum(1, keepdims=True), shared_TP.sum(0, keepdims=True)
    jaccard_TP = shared_TP / (size_T1 + size_1P - shared_TP)
    match_TP = 2 * shared_TP > size_T1
    match_TP[:, predicted_numbers == 0] = False
    return np.asarray(np.where(match_TP, jaccard_TP, 0).sum(1)[true_numbers != 0])
