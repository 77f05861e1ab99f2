"""A trained model as a function from pixels to label maps: the one way of predict and evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.cpu.rewriting import rewritten
from segkit.device import autocast, ran_out_of_memory
from segkit.errors import OutOfMemory
from segkit.inference.tiling import Tiling, labels_of_images
from segkit.model.network import SegmentationModel


@dataclass(frozen=True)
class Predictor:
    """Pixels, at their own depth and size, to labels.

    model          is put into evaluation mode; on `device`
    precision      fp32, bf16 or fp16
    tiling         how images larger than a tile are cut; None computes them whole
    full_scale     the pixel value that counts as 1; None: as `full_scale_of` has it
    channels_last  memory layout that the model is given and computes in
    rewrites       whether a copy of the network is rewritten to predict sooner, where that can be

    network        what predicts: that copy, or the model. It is one for all images, so that the
                   scores of an evaluation are those of the masks that `predict` writes. Rewriting
                   takes less time than half an image of 512 x 512 pixels
    """

    model: SegmentationModel
    device: torch.device
    precision: str = "fp32"
    tiling: Tiling | None = None
    full_scale: float | None = None
    channels_last: bool = True
    rewrites: bool = True
    network: SegmentationModel = field(init=False)

    def __post_init__(self) -> None:
        network = self.model.eval().to(memory_format=self._layout)
        if self.rewrites:
            network = rewritten(network, self.device, self.precision)
        object.__setattr__(self, "network", network)

    @torch.no_grad()
    def labels(self, pixels_BCHW: Tensor) -> Tensor:
        """The class of every pixel, label_BHW, on the device."""
        with autocast(self.device, self.precision):
            return labels_of_images(self.network, pixels_BCHW, self.normalized, self.tiling)

    @torch.no_grad()
    def logits(self, pixels_BCHW: Tensor) -> Tensor:
        """logits_BKHW of whole images, on the device."""
        with autocast(self.device, self.precision):
            logits_BKHW: Tensor = self.network(self.normalized(pixels_BCHW))
        return logits_BKHW

    def normalized(self, pixels_BCHW: Tensor) -> Tensor:
        """Pixels of any type as the network takes them, on the device."""
        scale = self.full_scale
        if scale is None:
            scale = full_scale_of(pixels_BCHW, self.model.record.training.get("full_scale"))
        pixels_BCHW = pixels_BCHW.to(self.device, non_blocking=True)
        return self.model.normalize(pixels_BCHW.contiguous(memory_format=self._layout), scale)

    def label_maps(self, images: Sequence[NDArray[np.generic]]) -> list[NDArray[np.integer]]:
        """A label map (H, W) for each image (H, W, C): all of one size, type and channels.

        Where the device's memory does not suffice, half as many at a time are tried; raises
        OutOfMemory SK-T002 where it does not suffice for one.
        """
        try:
            return list(self.labels(as_pixels(np.stack(images))).cpu().numpy())
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            if len(images) == 1:
                raise self._too_large(images[0]) from error
        half = len(images) // 2
        return [*self.label_maps(images[:half]), *self.label_maps(images[half:])]

    @property
    def _layout(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def _too_large(self, image_HWC: NDArray[np.generic]) -> OutOfMemory:
        height, width = image_HWC.shape[:2]
        if self.tiling is None:
            what = f"an image of {height} x {width} pixels (height x width) does"
            fix = "Use --tile 512, --precision bf16, or smaller images."
        else:
            tile = self.tiling.tile
            what = (
                f"an image of {height} x {width} pixels (height x width) in tiles of "
                f"{tile} x {tile} does"
            )
            fix = "Use smaller tiles with --tile, fewer at a time with --batch, or smaller images."
        if self.device.type != "cpu":
            fix = f"{fix[:-1]}; or --device cpu."
        return OutOfMemory("SK-T002", f"{what} not fit into {self.device}'s memory.", fix)


def as_pixels(image_BHWC: NDArray[np.generic]) -> Tensor:
    """Images as a tensor (B, C, H, W); 16 bits become int32, which torch computes with."""
    if image_BHWC.dtype == np.uint16:
        image_BHWC = image_BHWC.astype(np.int32)
    return torch.from_numpy(image_BHWC).permute(0, 3, 1, 2)


def full_scale_of(pixels: Tensor, trained: float | None) -> float:
    """The pixel value that counts as 1.

    trained   what it was in training, where that is known

    An 8-bit image has 255, whatever the network was trained on; 16-bit images and floating point
    keep the training's scale where that was of their kind, else they have 65535 and 1.
    """
    if pixels.dtype == torch.uint8:
        return 255.0
    if not pixels.is_floating_point():
        return float(trained) if trained and 255 < trained <= 65535 else 65535.0
    # Floats between 0 and 1 are normalised already, even where the training's pixels were integers.
    if trained and (trained not in (255, 65535) or (pixels.numel() and float(pixels.max()) > 1)):
        return float(trained)
    return 1.0
