"""Scores of objects: the Cell Tracking Challenge's, average precision, panoptic quality."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import cv2
import numpy as np
import torch
from torch import Tensor

from segkit_metrics.choices import one_class
from segkit_metrics.maps import NOWHERE, label_maps

# 0.5, 0.55, ... 0.95.
THRESHOLDS_T = np.arange(10, 20) / 20


class _OfObjects(ABC):
    """What the scores of objects share: which objects there are, truly and predicted.

    Predicted objects are those that the model tells apart, where it does; else the 8-connected
    components of each predicted class but the background. So are true ones where the data have no
    instances. Ignored pixels belong to no object, nor do those predicted as the ignored label.
    """

    name: str
    higher_is_better = True
    needs_instances = True
    takes_objects = True
    state: dict[str, Tensor]

    def __init__(
        self, num_classes: int, ignore_index: int | None = None, *, background: int = 0
    ) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.background = one_class(self.name, "background", background, num_classes)
        self.state = self._zeros()

    def update(
        self,
        label_BHW: Tensor,
        target_BHW: Tensor,
        instances_BHW: Tensor | None = None,
        objects_BHW: Tensor | None = None,
    ) -> None:
        maps = label_maps(label_BHW, target_BHW, self.num_classes, self.ignore_index)
        for image, (label_HW, target_HW) in enumerate(maps):
            counts_HW = target_HW != NOWHERE
            predicted_HW, true_HW = self._components(label_HW), self._components(target_HW)
            if objects_BHW is not None:
                predicted_HW = objects_BHW[image].cpu().numpy() * counts_HW
            if instances_BHW is not None:
                true_HW = instances_BHW[image].cpu().numpy() * counts_HW
            self._add(Overlaps(predicted_HW, true_HW))

    @abstractmethod
    def _zeros(self) -> dict[str, Tensor]:
        """`state` before the first image."""

    @abstractmethod
    def _add(self, overlaps: Overlaps) -> None:
        """Counts one image's objects into `state`."""

    def _components(self, label_HW: np.ndarray) -> np.ndarray:
        objects_HW = np.zeros(label_HW.shape, dtype=np.int64)
        for label in np.unique(label_HW):
            if label not in (self.background, self.ignore_index, NOWHERE):
                mask_HW = (label_HW == label).astype(np.uint8)
                part_HW = cv2.connectedComponents(mask_HW, connectivity=8)[1]
                objects_HW += np.where(part_HW > 0, part_HW + objects_HW.max(), 0)
        return objects_HW

    def reset(self) -> None:
        for each in self.state.values():
            each.zero_()


class ObjectJaccard(_OfObjects):
    """SEG of the Cell Tracking Challenge (Maska et al. 2014): mean Jaccard index of true objects.

    A true object is matched by the predicted one that covers more than half of it; its score is
    their Jaccard index, or 0 without a match. Predicted objects are those that the model tells
    apart, where it does; else the 8-connected components of each predicted class but the
    background. So are true ones where the data have no instances. Ignored pixels belong to no
    object. What is predicted and not true counts for nothing, so that frames may be annotated in
    part.

    background  the class that is no object
    """

    name = "seg"
    convention = (
        "mean over all true objects of all images of the Jaccard index with the predicted object "
        "that covers more than half, 0 without one; `seg/objects` is their number; n/a without any"
    )

    def _zeros(self) -> dict[str, Tensor]:
        return {
            "sum": torch.zeros((), dtype=torch.float64),
            "objects": torch.zeros((), dtype=torch.int64),
        }

    def _add(self, overlaps: Overlaps) -> None:
        jaccard_N = overlaps.covered_N
        self.state["sum"] += jaccard_N.sum()
        self.state["objects"] += len(jaccard_N)

    def compute(self) -> dict[str, float]:
        objects = int(self.state["objects"]) or math.nan
        return {"seg": float(self.state["sum"]) / objects, "seg/objects": float(objects)}


class AveragePrecision(_OfObjects):
    """Average precision of the 2018 Data Science Bowl (Caicedo et al. 2019), 0 to 1.

    At a threshold a true and a predicted object are a pair where their Jaccard index is above it,
    and the precision is pairs / (pairs + true ones without + predicted ones without). `ap` is the
    mean over the thresholds 0.5, 0.55, ... 0.95 and then over images; `ap/50` and `ap/75` are those
    of one threshold. Images without any object, true or predicted, count for nothing. Which objects
    there are is told as for `seg`. A frame annotated in part is punished for every other object
    that is found.

    background  the class that is no object
    """

    name = "ap"
    convention = (
        "per image and threshold pairs / (pairs + missed + false objects), mean over the "
        "thresholds 0.5 to 0.95 in steps of 0.05, then over images; n/a without any object"
    )

    def _zeros(self) -> dict[str, Tensor]:
        return {
            "precision_T": torch.zeros(len(THRESHOLDS_T), dtype=torch.float64),
            "images": torch.zeros((), dtype=torch.int64),
        }

    def _add(self, overlaps: Overlaps) -> None:
        objects = overlaps.true + overlaps.predicted
        if not objects:
            return
        pairs_T = (overlaps.paired_N[:, None] > THRESHOLDS_T).sum(axis=0)
        self.state["precision_T"] += torch.from_numpy(pairs_T / (objects - pairs_T))
        self.state["images"] += 1

    def compute(self) -> dict[str, float]:
        precision_T = (self.state["precision_T"] / self.state["images"]).tolist()
        mean = sum(precision_T) / len(precision_T)
        return {"ap": mean, "ap/50": precision_T[0], "ap/75": precision_T[5]}


class PanopticQuality(_OfObjects):
    """Panoptic quality of the objects (Kirillov et al. 2019, arXiv:1801.00868), 0 to 1.

    A true and a predicted object are a pair where their Jaccard index is above 0.5. `pq` is the sum
    of the pairs' indices over pairs + half of the missed + half of the false objects, all images
    together; it is `pq/sq`, the mean index of pairs, times `pq/rq`, their F1 score. Objects of all
    classes are counted together, and the background is none. Which objects there are is told as for
    `seg`. A frame annotated in part is punished for every other object that is found.

    background  the class that is no object
    """

    name = "pq"
    convention = (
        "sum of the Jaccard indices of pairs (above 0.5) / (pairs + half of the missed and of the "
        "false objects), over all images together; n/a without any object"
    )

    def _zeros(self) -> dict[str, Tensor]:
        return {
            "sum": torch.zeros((), dtype=torch.float64),
            "pairs": torch.zeros((), dtype=torch.int64),
            "objects": torch.zeros((), dtype=torch.int64),
        }

    def _add(self, overlaps: Overlaps) -> None:
        paired_N = overlaps.paired_N[overlaps.paired_N > 0.5]
        self.state["sum"] += paired_N.sum()
        self.state["pairs"] += len(paired_N)
        self.state["objects"] += overlaps.true + overlaps.predicted

    def compute(self) -> dict[str, float]:
        # Missed, false and twice the pairs are all objects, true and predicted.
        half_of_all = int(self.state["objects"]) / 2 or math.nan
        pairs, total = int(self.state["pairs"]), float(self.state["sum"])
        found = {"pq": total / half_of_all, "pq/sq": total / pairs if pairs else math.nan}
        return found | {"pq/rq": pairs / half_of_all}


class Overlaps:
    """How the objects of two maps, 0 between them, lie on each other.

    true, predicted   how many there are
    covered_N         per true object, the Jaccard index with the predicted one that covers more
                      than half of it; 0 without
    paired_N          per true object, its largest Jaccard index with a predicted one; 0 without.
                      Above 0.5 no other true object has the same predicted one
    """

    def __init__(self, predicted_HW: np.ndarray, true_HW: np.ndarray) -> None:
        true_numbers, true_N = np.unique(true_HW, return_inverse=True)
        predicted_numbers, predicted_N = np.unique(predicted_HW, return_inverse=True)
        pair_N = true_N.ravel() * len(predicted_numbers) + predicted_N.ravel()
        shared_TP = np.bincount(pair_N, minlength=len(true_numbers) * len(predicted_numbers))
        shared_TP = shared_TP.reshape(len(true_numbers), len(predicted_numbers))
        size_T1, size_1P = shared_TP.sum(1, keepdims=True), shared_TP.sum(0, keepdims=True)
        jaccard_TP = shared_TP / (size_T1 + size_1P - shared_TP)
        jaccard_TP[:, predicted_numbers == 0] = 0
        objects = true_numbers != 0
        covering_TP = np.where(2 * shared_TP > size_T1, jaccard_TP, 0)
        self.covered_N = np.asarray(covering_TP.sum(1)[objects])
        self.paired_N = np.asarray(jaccard_TP.max(1)[objects])
        self.true, self.predicted = int(objects.sum()), int((predicted_numbers != 0).sum())


def matched_jaccard(predicted_HW: np.ndarray, true_HW: np.ndarray) -> np.ndarray:
    """Per true object, the Jaccard index with its match, 0 without; maps are 0 between objects."""
    return Overlaps(predicted_HW, true_HW).covered_N
