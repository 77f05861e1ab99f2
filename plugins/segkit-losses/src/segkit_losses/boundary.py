"""The boundary loss: probabilities weighed with their signed distance to the true border."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from segkit_losses.distance import distance_to
from segkit_losses.inputs import InputReader, probabilities


class Boundary(nn.Module):
    """Boundary loss (Kervadec et al. 2019, arXiv:1812.07032): the mean of phi * p.

    phi is a pixel's distance to the class's true border, in pixels, negative inside the class; the
    mean runs over all valid pixels and all classes. It falls below 0 for a good prediction, and is
    meant to be added to a region loss: `dice + 0.01*boundary`.

    phi comes from exact Euclidean distances between pixel centres, less half a pixel. A class that
    an image does not hold is half the image's diagonal away everywhere; one that fills it, as far
    inside. Ignored pixels are neither inside nor outside. The distances are computed on the host,
    so on a device each call waits for the targets; they are float32, so float64 logits give value
    and gradient within 1e-6, others within 1e-5 (bfloat16: 1e-2 of the gradient).

    normalize   divide phi by the image's diagonal, so that the loss does not grow with the image
    multilabel  classes do not exclude each other: sigmoid, target_BKHW of 0 and 1
    """

    def __init__(
        self,
        num_classes: int,
        ignore_index: int | None = None,
        *,
        normalize: bool = False,
        multilabel: bool = False,
    ) -> None:
        super().__init__()
        self.read = InputReader("boundary", num_classes, ignore_index, multilabel)
        self.normalize = normalize

    def forward(self, logits_BKHW: Tensor, target: Tensor) -> Tensor:
        batch = self.read(logits_BKHW, target)
        probability_BKHW, truth_BKHW, valid_BKHW = probabilities(batch, self.read.multilabel)
        distance_BKHW = signed_distances(truth_BKHW > 0.5, valid_BKHW).to(probability_BKHW)
        if self.normalize:
            distance_BKHW = distance_BKHW / math.hypot(*distance_BKHW.shape[-2:])
        return (distance_BKHW * probability_BKHW).sum() / valid_BKHW.sum().clamp_min(1)


def signed_distances(truth_BKHW: Tensor, valid_BKHW: Tensor) -> Tensor:
    """Pixels to the true border per image and class: float32 on the host, negative inside."""
    batch, classes, height, width = truth_BKHW.shape
    truth_NHW = truth_BKHW.reshape(-1, height, width).cpu().numpy()
    valid_NHW = valid_BKHW.reshape(-1, height, width).cpu().numpy()
    distance_NHW = np.stack(
        [
            _signed_distance(inside, valid)
            for inside, valid in zip(truth_NHW, valid_NHW, strict=True)
        ]
    )
    return torch.from_numpy(distance_NHW).reshape(batch, classes, height, width)


def _signed_distance(truth_HW: np.ndarray, valid_HW: np.ndarray) -> np.ndarray:
    inside_HW, outside_HW = truth_HW & valid_HW, ~truth_HW & valid_HW
    far = math.hypot(*truth_HW.shape) / 2
    if not inside_HW.any() or not outside_HW.any():
        return np.where(inside_HW, -far, far).astype(np.float32)
    return np.where(inside_HW, 0.5 - distance_to(outside_HW), distance_to(inside_HW) - 0.5).astype(
        np.float32
    )
