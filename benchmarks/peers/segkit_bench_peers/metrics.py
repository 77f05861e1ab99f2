"""From logits to scores: labels, labels of enlarged logits, and counts of label maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from segkit.api import ConfusionMatrix
from segkit_bench_peers.loop import TYPES, Precision
from segkit_bench_peers.networks import installed

BLOCK, IGNORED, IN_TURN = 16, 255, 2
# Labels whose two largest logits differ in the last bit of float32.
DIFFERING = 1e-4


class Step(ABC):
    """One operation on inputs that take turns."""

    unit = "image"

    def __init__(self, device: str, size: int, batch: int, classes: int) -> None:
        self.device, self.size, self.batch, self.classes = device, size, batch, classes
        self.turn = 0

    @abstractmethod
    def prepared(self) -> Callable[[], Any]:
        """What is measured, its inputs made."""

    def set_up(self) -> None:
        torch.manual_seed(0)
        self.steps = [self.prepared() for _ in range(IN_TURN)]

    def run(self) -> int:
        self.turn += 1
        with torch.inference_mode():
            self.steps[self.turn % IN_TURN]()
        return self.batch


class Argmax(Step):
    """The class of the largest logit.

    method   torch: argmax over the classes; segkit: its own
    layout   of the logits in memory
    """

    def __init__(
        self,
        device: str,
        *,
        method: Literal["torch", "segkit"] = "segkit",
        layout: Literal["contiguous", "channels_last"] = "contiguous",
        size: int = 512,
        batch: int = 2,
        classes: int = 21,
        precision: Precision = "fp32",
    ) -> None:
        super().__init__(device, size, batch, classes)
        self.method, self.layout, self.precision = method, layout, precision

    def prepared(self) -> Callable[[], Tensor]:
        layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
        shape = (self.batch, self.classes, self.size, self.size)
        logits_BKHW = torch.randn(shape).to(self.device, TYPES[self.precision])
        logits_BKHW = logits_BKHW.contiguous(memory_format=layouts[self.layout])
        return lambda: self.labels(logits_BKHW)

    def labels(self, logits_BKHW: Tensor) -> Tensor:
        from segkit.model.labels import most_likely

        if self.method == "segkit":
            return most_likely(logits_BKHW)
        return logits_BKHW.argmax(dim=1)

    def check(self) -> tuple[float, float]:
        """The share of labels that differ from torch.argmax's, many ties among them: none may."""
        shape = (2, self.classes, 64, 65)
        logits_BKHW = torch.randint(-3, 4, shape).to(self.device, TYPES[self.precision])
        differ_BHW = self.labels(logits_BKHW) != logits_BKHW.argmax(dim=1)
        return float(differ_BHW.double().mean()), 0.0


class LabelTail(Step):
    """The labels of logits at a stride, enlarged bilinearly to the image's size.

    method   torch: interpolate, then argmax; segkit: both at once, in bands of rows
    stride   of the logits
    """

    def __init__(
        self,
        device: str,
        *,
        method: Literal["torch", "segkit"] = "segkit",
        stride: int = 4,
        size: int = 512,
        batch: int = 1,
        classes: int = 150,
    ) -> None:
        super().__init__(device, size, batch, classes)
        self.method, self.stride = method, stride

    def prepared(self) -> Callable[[], Tensor]:
        side = self.size // self.stride
        coarse_BKHW = torch.randn(self.batch, self.classes, side, side).to(self.device)
        return lambda: self.labels(coarse_BKHW)

    def labels(self, coarse_BKHW: Tensor) -> Tensor:
        from segkit.model.labels import most_likely_enlarged

        size = (coarse_BKHW.shape[2] * self.stride, coarse_BKHW.shape[3] * self.stride)
        if self.method == "segkit":
            return most_likely_enlarged(coarse_BKHW, size)
        return F.interpolate(coarse_BKHW, size, mode="bilinear").argmax(dim=1)

    def check(self) -> tuple[float, float]:
        """The share of labels that differ from those in float64."""
        coarse_BKHW = torch.randn(1, self.classes, 40, 48).to(self.device)
        large_BKHW = F.interpolate(coarse_BKHW.double(), scale_factor=self.stride, mode="bilinear")
        differ_BHW = self.labels(coarse_BKHW) != large_BKHW.argmax(dim=1)
        return float(differ_BHW.double().mean()), DIFFERING


class Counting(Step):
    """Adding a batch of label maps to the counts that scores are made of.

    method   segkit: ConfusionMatrix.update; smp: get_stats; torchmetrics: MulticlassJaccardIndex
             and MulticlassConfusionMatrix, without validation; validating: the latter by default
    type     of the label maps: segkit's own are bytes, the others take whole numbers of 64 bits
    maps     blocky: areas of 16 x 16 pixels, a tenth of them mistaken; random: pixel by pixel
    """

    def __init__(
        self,
        device: str,
        *,
        method: Literal["segkit", "smp", "torchmetrics", "jaccard", "validating"] = "segkit",
        type: Literal["uint8", "int64"] = "uint8",
        maps: Literal["blocky", "random"] = "blocky",
        size: int = 512,
        batch: int = 8,
        classes: int = 21,
    ) -> None:
        super().__init__(device, size, batch, classes)
        self.method, self.maps = method, maps
        self.type = torch.uint8 if type == "uint8" and method == "segkit" else torch.int64

    def prepared(self) -> Callable[[], Any]:
        label_BHW, target_BHW = self.drawn()
        update = self.counter()
        return lambda: update(label_BHW, target_BHW)

    def drawn(self) -> tuple[Tensor, Tensor]:
        shape = (self.batch, self.size, self.size)
        target_BHW = torch.randint(self.classes, shape)
        label_BHW = torch.randint(self.classes, shape)
        if self.maps == "blocky":
            cells = -(-self.size // BLOCK)
            areas_BHW = torch.randint(self.classes, (self.batch, cells, cells))
            target_BHW = areas_BHW.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)
            target_BHW = target_BHW[:, : self.size, : self.size].contiguous()
            label_BHW = torch.where(torch.rand(shape) < 0.1, label_BHW, target_BHW)
        target_BHW[:, : self.size // BLOCK] = IGNORED
        return label_BHW.to(self.device, self.type), target_BHW.to(self.device, self.type)

    def counter(self) -> Callable[[Tensor, Tensor], Any]:
        if self.method == "segkit":
            self.matrix = ConfusionMatrix(self.classes, IGNORED)
            return self.matrix.update
        if self.method == "smp":
            smp = installed("segmentation_models_pytorch", "segmentation-models-pytorch")
            return lambda label_BHW, target_BHW: smp.metrics.get_stats(
                label_BHW,
                target_BHW,
                mode="multiclass",
                num_classes=self.classes,
                ignore_index=IGNORED,
            )
        scores = installed("torchmetrics.classification", "torchmetrics")
        name = "MulticlassJaccardIndex" if self.method == "jaccard" else "MulticlassConfusionMatrix"
        metric = getattr(scores, name)(
            self.classes, ignore_index=IGNORED, validate_args=self.method == "validating"
        )
        update: Callable[[Tensor, Tensor], Any] = metric.to(self.device).update
        self.metric = metric
        return update

    def check(self) -> tuple[float, float]:
        """Pixels that are in another cell than a plain count has them: none may."""
        label_BHW, target_BHW = self.drawn()
        found = self.counter()(label_BHW, target_BHW)
        valid_BHW = target_BHW != IGNORED
        cell_N = target_BHW[valid_BHW].long() * self.classes + label_BHW[valid_BHW].long()
        counts_KK = torch.zeros(self.classes**2, dtype=torch.int64, device=cell_N.device)
        counts_KK = counts_KK.index_add_(0, cell_N, torch.ones_like(cell_N))
        counts_KK = counts_KK.reshape(self.classes, self.classes)
        if self.method == "smp":
            # Of each image and class the true positives.
            wrong = found[0].sum(dim=0) - counts_KK.diagonal()
        elif self.method == "segkit":
            wrong = self.matrix.counts_KK - counts_KK
        else:
            wrong = self.metric.confmat - counts_KK
        return float(wrong.abs().sum()), 0.0
