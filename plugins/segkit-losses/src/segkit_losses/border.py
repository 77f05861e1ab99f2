"""Cross-entropy with the U-Net paper's weight map: it teaches the gaps between touching objects."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from segkit_losses.distance import distance_to
from segkit_losses.inputs import Batch, InputReader
from segkit_losses.means import weighted_mean
from segkit_losses.pixelwise import pixel_errors, pixel_weights
from segkit_losses.settings import ClassWeights, at_least, one_class


class BorderWeightedCrossEntropy(nn.Module):
    """Cross-entropy weighted by the gaps (Ronneberger et al. 2015, arXiv:1505.04597, equation 2).

    weight = class weight + w0 exp(-(d1 + d2)^2 / (2 sigma^2)), and the loss is the weighted mean.
    d1 and d2 are a background pixel's distances to the nearest and the second nearest object, in
    pixels from centre to centre. Pixels of objects, and images with fewer than two objects, have
    the class weight alone.

    Called with instances_BHW (int64, 0 background, one number per object) where the data have them;
    without, objects are the 8-connected components of each class but the background. Where masks
    of cells touch, there is no gap to weigh: `gap` cuts one, as the paper does. The weights are
    computed on the host, so on a device each call waits for the targets; they are float32, so
    float64 logits give value and gradient within 1e-6, others within 1e-5 (bfloat16 logits: 1e-2 of
    the gradient).

    w0             weight added in the narrowest gap
    sigma          how far from objects it reaches, in pixels
    class_weights  a weight per class, or 'balanced': by how rare each class is in the batch
    background     the class that is no object
    gap            pixels of an object this near to another are learnt as background, 0 for none
    """

    needs_instances = True

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        w0: float = 10.0,
        sigma: float = 5.0,
        class_weights: tuple[float, ...] | Literal["balanced"] | None = None,
        background: int = 0,
        gap: int = 0,
    ) -> None:
        super().__init__()
        self.read = InputReader("weighted_ce", num_classes, ignore_index)
        self.w0 = at_least("weighted_ce", "w0", w0, 0)
        self.sigma = at_least("weighted_ce", "sigma", sigma, 0.1)
        self.background = one_class("weighted_ce", "background", background, num_classes)
        self.gap = int(at_least("weighted_ce", "gap", gap, 0))
        self.balanced = class_weights == "balanced"
        given = None if isinstance(class_weights, str) else class_weights
        self.class_weights = ClassWeights("weighted_ce", given, num_classes)

    def forward(
        self, logits_BKHW: Tensor, target_BHW: Tensor, instances_BHW: Tensor | None = None
    ) -> Tensor:
        batch = self.read(logits_BKHW, target_BHW)
        if instances_BHW is None:
            objects_BHW = connected_objects(batch, self.background)
        else:
            objects_BHW = instances_BHW.cpu().numpy()
        if self.gap:
            whole_BHW = objects_BHW
            objects_BHW = np.stack([without_contact(each, self.gap) for each in whole_BHW])
            cut_BHW = torch.from_numpy(whole_BHW != objects_BHW).to(batch.valid.device)
            target_BHW = batch.target.masked_fill(cut_BHW & batch.valid, self.background)
            batch = batch._replace(target=target_BHW)
        border_BHW = torch.from_numpy(
            np.stack([border_weights(each, self.w0, self.sigma) for each in objects_BHW])
        )
        weight_K = (
            balanced_weights(batch) if self.balanced else self.class_weights(batch.logits_BKHW)
        )
        weight_BHW = pixel_weights(batch, weight_K)
        weight_BHW = weight_BHW + torch.where(batch.valid, border_BHW.to(weight_BHW), 0)
        return weighted_mean(weight_BHW * pixel_errors(batch), weight_BHW)


def without_contact(objects_HW: np.ndarray, gap: int) -> np.ndarray:
    """The objects less their pixels that have another object within `gap` (king's moves)."""
    numbers, object_N = np.unique(np.append(objects_HW, 0), return_inverse=True)
    # Numbered from 0 up, background included: float32 holds them exactly.
    number_HW = object_N[:-1].reshape(objects_HW.shape).astype(np.float32)
    number_HW[objects_HW == 0] = -1
    kernel = np.ones((2 * gap + 1, 2 * gap + 1), dtype=np.uint8)
    highest_HW = cv2.dilate(number_HW, kernel)
    number_HW[objects_HW == 0] = len(numbers)
    lowest_HW = cv2.erode(number_HW, kernel)
    alone_HW = (highest_HW == number_HW) & (lowest_HW == number_HW)
    return np.where(alone_HW, objects_HW, 0)


def border_weights(objects_HW: np.ndarray, w0: float, sigma: float) -> np.ndarray:
    """w0 exp(-(d1 + d2)^2 / (2 sigma^2)) where objects_HW is 0, and 0 in objects; float32."""
    nearest_HW = np.full(objects_HW.shape, np.inf, dtype=np.float32)
    second_HW = nearest_HW.copy()
    # Beyond 8 sigma the exponential is below float32's resolution: look no further.
    reach = int(8 * sigma) + 1
    for number, (rows, columns) in bounding_boxes(objects_HW).items():
        window = (_widened(rows, reach), _widened(columns, reach))
        distance_HW = distance_to(objects_HW[window] == number)
        nearest, second = nearest_HW[window], second_HW[window]
        second_HW[window] = np.minimum(second, np.maximum(nearest, distance_HW))
        nearest_HW[window] = np.minimum(nearest, distance_HW)
    exponent_HW = ((nearest_HW + second_HW) / sigma) ** 2 / 2
    return np.where(objects_HW == 0, w0 * np.exp(-exponent_HW), 0).astype(np.float32)


def bounding_boxes(objects_HW: np.ndarray) -> dict[int, tuple[slice, slice]]:
    """Rows and columns of every object, by its number."""
    row_N, column_N = np.nonzero(objects_HW)
    numbers, object_N = np.unique(objects_HW[row_N, column_N], return_inverse=True)
    limits = []
    for place_N in (row_N, column_N):
        first = np.full(len(numbers), np.iinfo(np.int64).max)
        last = np.zeros(len(numbers), dtype=np.int64)
        np.minimum.at(first, object_N, place_N)
        np.maximum.at(last, object_N, place_N)
        limits.append([slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True)])
    return dict(zip(numbers.tolist(), zip(*limits, strict=True), strict=True))


def connected_objects(batch: Batch, background: int) -> np.ndarray:
    """The 8-connected components of every class but the background, numbered per image."""
    objects = []
    for target_HW in batch.target.cpu().numpy():
        objects_HW = np.zeros(target_HW.shape, dtype=np.int64)
        for label in np.unique(target_HW):
            if label >= 0 and label != background:
                mask_HW = (target_HW == label).astype(np.uint8)
                _, part_HW = cv2.connectedComponents(mask_HW, connectivity=8)
                objects_HW += np.where(part_HW > 0, part_HW + objects_HW.max(), 0)
        objects.append(objects_HW)
    return np.stack(objects)


def balanced_weights(batch: Batch) -> Tensor:
    """Valid pixels over (classes present * the class's pixels), per class; 0 for absent ones."""
    classes = batch.logits_BKHW.shape[1]
    class_K111 = torch.arange(classes, device=batch.target.device)[:, None, None, None]
    pixels_K = (batch.target == class_K111).sum((1, 2, 3)).to(batch.logits_BKHW.dtype)
    present_K = pixels_K > 0
    mean = pixels_K.sum() / present_K.sum().clamp_min(1)
    return torch.where(present_K, mean / pixels_K.clamp_min(1), 0)


def _widened(span: slice, reach: int) -> slice:
    return slice(max(span.start - reach, 0), span.stop + reach)
