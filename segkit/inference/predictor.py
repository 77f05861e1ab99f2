"""A trained model as a function from images to label maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.engine.device import autocast
from segkit.errors import OutOfMemory
from segkit.model import SegmentationModel


@dataclass(frozen=True)
class Predictor:
    """Images (H, W, C), at their own depth and size, to label maps (H, W).

    model       in evaluation mode, on `device`
    precision   fp32, bf16 or fp16
    """

    model: SegmentationModel
    device: torch.device
    precision: str = "fp32"

    def labels(self, images: Sequence[NDArray[np.generic]]) -> list[NDArray[np.integer]]:
        """A label map for each image: all of one size, type and number of channels.

        Where the device's memory does not suffice, half as many at a time are tried; raises
        OutOfMemory SK-T002 where it does not suffice for one.
        """
        try:
            return list(self._labels(np.stack(images)))
        except torch.OutOfMemoryError as error:
            if len(images) == 1:
                height, width = images[0].shape[:2]
                raise OutOfMemory(
                    "SK-T002",
                    f"an image of {width} x {height} does not fit into {self.device}'s memory.",
                    "Use --device cpu, --precision bf16, or smaller images.",
                ) from error
        half = len(images) // 2
        return [*self.labels(images[:half]), *self.labels(images[half:])]

    @torch.inference_mode()
    def _labels(self, image_BHWC: NDArray[np.generic]) -> Iterator[NDArray[np.integer]]:
        scale = full_scale_of(image_BHWC, self.model.record.training.get("full_scale"))
        if image_BHWC.dtype == np.uint16:
            image_BHWC = image_BHWC.astype(np.int32)
        image_BCHW = torch.from_numpy(image_BHWC).to(self.device).permute(0, 3, 1, 2)
        with autocast(self.device, self.precision):
            logits_BKHW = self.model(self.model.normalize(image_BCHW.contiguous(), scale))
        label_BHW = most_likely(logits_BKHW)
        smallest = torch.uint8 if logits_BKHW.shape[1] <= 256 else torch.int32
        yield from label_BHW.to(smallest).cpu().numpy()


def most_likely(logits_BKHW: Tensor) -> Tensor:
    """The class of the largest logit; with a single class, 1 where its logit is above 0."""
    if logits_BKHW.shape[1] == 1:
        return (logits_BKHW[:, 0] > 0).long()
    return logits_BKHW.argmax(dim=1)


def full_scale_of(image: NDArray[np.generic], trained: float | None) -> float:
    """The pixel value that counts as 1.

    trained   what it was in training, where that is known

    An 8-bit image has 255, whatever the network was trained on; 16-bit images and floating point
    keep the training's scale where that was of their kind, else they have 65535 and 1.
    """
    if image.dtype == np.uint8:
        return 255.0
    if image.dtype == np.uint16:
        return float(trained) if trained and 255 < trained <= 65535 else 65535.0
    # Floats between 0 and 1 are normalised already, even where the training's pixels were integers.
    if trained and (trained not in (255, 65535) or image.max(initial=0) > 1):
        return float(trained)
    return 1.0
