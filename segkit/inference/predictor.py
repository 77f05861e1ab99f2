"""A trained model as a function from pixels to label maps: the one way of predict and evaluate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.cpu.rewriting import rewritten
from segkit.device import autocast, on_device, ran_out_of_memory
from segkit.errors import OutOfMemory
from segkit.inference.onnx_network import OnnxNetwork
from segkit.inference.tiling import Tiling, labels_of_images
from segkit.model.ensemble import Ensemble
from segkit.model.mirroring import two_at_least
from segkit.model.network import CoarseLogits, SegmentationModel


@dataclass(frozen=True)
class Predictor:
    """Pixels, at their own depth and size, to labels.

    model          is put into evaluation mode; on `device`
    precision      fp32, bf16 or fp16
    tiling         how images larger than a tile are cut; None computes them whole
    channels_last  memory layout that the model is given and computes in
    rewrites       whether a copy of the network is rewritten to predict sooner, where that can be
    rewritten      such a copy, where it has been made before

    network        what predicts: that copy, or the model. It is one for all images, so that the
                   scores of an evaluation are those of the masks that `predict` writes. Rewriting
                   takes less time than half an image of 512 x 512 pixels
    """

    model: SegmentationModel
    device: torch.device
    precision: str = "fp32"
    tiling: Tiling | None = None
    channels_last: bool = True
    rewrites: bool = True
    rewritten: SegmentationModel | None = None
    network: SegmentationModel = field(init=False)

    def __post_init__(self) -> None:
        network = self.model.eval().to(memory_format=self._layout)
        if self.rewritten is not None:
            network = self.rewritten
        elif self.rewrites and isinstance(network, Ensemble):
            network = network.of(
                [rewritten(each, self.device, self.precision) for each in network.networks]
            )
        elif self.rewrites and not isinstance(self.model, OnnxNetwork):
            network = rewritten(network, self.device, self.precision)
        object.__setattr__(self, "network", network)

    @torch.no_grad()
    def labels(
        self, pixels_BCHW: Tensor, full_scale: float, tiling: Tiling | None = None
    ) -> Tensor:
        """The label of every pixel, label_BHW, on the device; of one logit 1 where it is above 0.

        full_scale   the pixel value that counts as 1
        tiling       in place of the predictor's own
        """
        prepare = partial(self._normalized, full_scale=full_scale)
        with autocast(self.device, self.precision):
            return labels_of_images(self.network, pixels_BCHW, prepare, tiling or self.tiling)

    @torch.no_grad()
    def logits(self, pixels_BCHW: Tensor, full_scale: float) -> Tensor:
        """logits_BKHW of whole images, on the device; a single logit is given one of 0 beside it,
        for the background."""
        return self.enlarged(self.output(pixels_BCHW, full_scale), pixels_BCHW.shape[-2:])

    @torch.no_grad()
    def each_logits(self, pixels_BCHW: Tensor, full_scale: float) -> Iterator[Tensor]:
        """`logits` of every answer: of an ensemble's members, of mirrored images; of another model
        its own."""
        if not self.network.several:
            yield self.logits(pixels_BCHW, full_scale)
            return
        with autocast(self.device, self.precision):
            image_BCHW = self._normalized(pixels_BCHW, full_scale)
            for logits_BKHW in self.network.each_logits(image_BCHW):
                yield two_at_least(logits_BKHW)

    @torch.no_grad()
    def output(self, pixels_BCHW: Tensor, full_scale: float) -> CoarseLogits:
        """What the network says of whole images, before it is enlarged to their size."""
        with autocast(self.device, self.precision):
            output: CoarseLogits = self.network(
                self._normalized(pixels_BCHW, full_scale), enlarged=False
            )
        return output

    @torch.no_grad()
    def labelled(self, pixels_BCHW: Tensor, full_scale: float) -> tuple[Tensor, CoarseLogits]:
        """`labels` and `output` of whole images, from one pass of the network."""
        with autocast(self.device, self.precision):
            return self.network.labelled(self._normalized(pixels_BCHW, full_scale))

    @torch.no_grad()
    def enlarged(self, output: CoarseLogits, size: Sequence[int]) -> Tensor:
        """`logits` of images of this size, (H, W), from the network's output."""
        with autocast(self.device, self.precision):
            logits_BKHW = self.network.enlarged(output, size)
        return two_at_least(logits_BKHW)

    def tempered(self, logits_BKHW: Tensor) -> Tensor:
        """Logits whose softmax are the probabilities: over the temperature of the model."""
        temperature = self.model.record.temperature
        return logits_BKHW if temperature == 1 else logits_BKHW.float() / temperature

    @torch.no_grad()
    def maps(self, output: CoarseLogits, size: Sequence[int]) -> Tensor:
        """maps_BMHW of images of this size, (H, W), by which the model separates objects."""
        with autocast(self.device, self.precision):
            return self.network.maps(output, size)

    def _normalized(self, pixels_BCHW: Tensor, full_scale: float) -> Tensor:
        """Pixels of any type as the network takes them, on the device."""
        pixels_BCHW = on_device(pixels_BCHW, self.device, self.channels_last)
        return self.model.normalize(pixels_BCHW, full_scale)

    def label_maps(
        self,
        images: Sequence[NDArray[np.generic]],
        full_scale: float,
        tiling: Tiling | None = None,
    ) -> list[NDArray[np.integer]]:
        """A label map (H, W) for each image (H, W, C): all of one size, type and channels.

        Where the device's memory does not suffice, half as many at a time are tried; raises
        OutOfMemory SK-T002 where it does not suffice for one.
        """
        try:
            label_BHW = self.labels(as_pixels(np.stack(images)), full_scale, tiling).cpu().numpy()
            # A single class is everywhere, whatever its logit.
            return list(label_BHW * 0 if self.model.record.label_count == 1 else label_BHW)
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            if len(images) == 1:
                raise self.too_large(images[0], tiling) from error
        halves = images[: len(images) // 2], images[len(images) // 2 :]
        return [
            label_HW for half in halves for label_HW in self.label_maps(half, full_scale, tiling)
        ]

    @property
    def _layout(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def too_large(self, image_HWC: NDArray[np.generic], tiling: Tiling | None) -> OutOfMemory:
        """The error for an image that does not fit into the memory, with what may help."""
        height, width = image_HWC.shape[:2]
        tiling = tiling or self.tiling
        if tiling is None:
            what = f"an image of {height} x {width} pixels (height x width) does"
            fix = "Use --tile 512, --precision bf16, or smaller images."
        else:
            tile = tiling.tile
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
