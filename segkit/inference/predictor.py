"""A trained model as a function from images to label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.cpu.rewriting import prepared
from segkit.device import autocast, ran_out_of_memory
from segkit.errors import OutOfMemory
from segkit.inference.tiling import Tiling, labels_of_images
from segkit.model.network import SegmentationModel


@dataclass(frozen=True)
class Predictor:
    """Images (H, W, C), at their own depth and size, to label maps (H, W).

    model       in evaluation mode, on `device`
    precision   fp32, bf16 or fp16
    tiling      how images larger than a tile are cut; None computes them whole
    rewrites    whether a copy of the network is rewritten to predict sooner, where that can be

    network     what predicts: that copy, or the model
    """

    model: SegmentationModel
    device: torch.device
    precision: str = "fp32"
    tiling: Tiling | None = None
    rewrites: bool = True
    network: SegmentationModel = field(init=False)

    def __post_init__(self) -> None:
        # Images are read channels-last, and convolutions are quicker so.
        network = self.model.to(memory_format=torch.channels_last)
        if self.rewrites:
            network = prepared(network, self.device, self.precision)
        object.__setattr__(self, "network", network)

    def labels(self, images: Sequence[NDArray[np.generic]]) -> list[NDArray[np.integer]]:
        """A label map for each image: all of one size, type and number of channels.

        Where the device's memory does not suffice, half as many at a time are tried; raises
        OutOfMemory SK-T002 where it does not suffice for one.
        """
        try:
            return list(self._labels(np.stack(images)))
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            if len(images) == 1:
                raise self._too_large(images[0]) from error
        half = len(images) // 2
        return [*self.labels(images[:half]), *self.labels(images[half:])]

    @torch.inference_mode()
    def _labels(self, image_BHWC: NDArray[np.generic]) -> NDArray[np.integer]:
        scale = full_scale_of(image_BHWC, self.model.record.training.get("full_scale"))
        if image_BHWC.dtype == np.uint16:
            image_BHWC = image_BHWC.astype(np.int32)
        pixels_BCHW = torch.from_numpy(image_BHWC).permute(0, 3, 1, 2)

        with autocast(self.device, self.precision):
            label_BHW = labels_of_images(
                self.network,
                pixels_BCHW,
                lambda some: self.model.normalize(self._moved(some), scale),
                self.tiling,
            )
        return label_BHW.cpu().numpy()

    def _moved(self, pixels_BCHW: Tensor) -> Tensor:
        return pixels_BCHW.to(self.device).contiguous(memory_format=torch.channels_last)

    def _too_large(self, image_HWC: NDArray[np.generic]) -> OutOfMemory:
        height, width = image_HWC.shape[:2]
        if self.tiling is None:
            what = f"an image of {width} x {height} does"
            fix = "Use --tile 512, --precision bf16, or smaller images."
        else:
            tile = self.tiling.tile
            what = f"an image of {width} x {height} in tiles of {tile} x {tile} does"
            fix = "Use smaller tiles with --tile, fewer at a time with --batch, or smaller images."
        if self.device.type != "cpu":
            fix = f"{fix[:-1]}; or --device cpu."
        return OutOfMemory("SK-T002", f"{what} not fit into {self.device}'s memory.", fix)


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
