"""Losses by themselves, forward and backward: those of other libraries and segkit's, on the same
random logits and on label maps of 16 x 16 blocks, none of them ignored (MONAI knows no ignoring).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from segkit.api import UsageError
from segkit_bench_peers.loop import BLOCK, TOLERANCE, TYPES, Precision, keeps_freed_memory
from segkit_bench_peers.networks import installed

Library = Literal["segkit", "smp", "monai", "torch"]
Variant = Literal["default", "channels_last", "compiled", "allocator"]
Criterion = Callable[[Tensor, Tensor], Tensor]

IGNORED = 255
LOGITS_IN_TURN = 2
CHECKED_SIDE = 128


class LossStep:
    """A loss of logits, and its gradient.

    library  segkit; smp: DiceLoss with cross-entropy; monai: DiceCELoss; torch: cross_entropy
    loss     what segkit computes
    variant  default: logits as they come from a contiguous convolution; channels_last: in that
             order; compiled: by torch.compile; allocator: freed memory is kept (GNU malloc)
    """

    unit = "image"

    def __init__(
        self,
        device: str,
        *,
        library: Library = "segkit",
        loss: str = "dice+ce",
        size: int = 512,
        batch: int = 8,
        classes: int = 21,
        precision: Precision = "fp32",
        variant: Variant = "default",
    ) -> None:
        self.device, self.library, self.written = torch.device(device), library, loss
        self.size, self.batch, self.classes = size, batch, classes
        self.precision, self.variant = precision, variant
        self.turn = 0

    def set_up(self) -> None:
        if self.variant == "allocator":
            keeps_freed_memory()
        torch.manual_seed(0)
        self.plain = criterion_of(self.library, self.written, self.classes)
        self.criterion = torch.compile(self.plain) if self.variant == "compiled" else self.plain
        self.logits = [self._random_logits() for _ in range(LOGITS_IN_TURN)]
        self.targets = [self._random_target() for _ in range(LOGITS_IN_TURN)]

    def run(self) -> int:
        self.turn = (self.turn + 1) % LOGITS_IN_TURN
        logits_BKHW = self.logits[self.turn].detach().requires_grad_()
        self._value(self.criterion, logits_BKHW, self.targets[self.turn]).backward()
        return self.batch

    def check(self) -> tuple[float, float]:
        """The gradient beside that of the same loss of the same logits in float64."""
        side = min(CHECKED_SIDE, self.logits[0].shape[-1])
        found_BKHW = self.logits[0][:2, :, :side, :side].detach().clone().requires_grad_()
        exact_BKHW = found_BKHW.detach().double().requires_grad_()
        labels = side * self.size // self.logits[0].shape[-1]
        target_BHW = self.targets[0][:2, :labels, :labels]
        self._value(self.plain, found_BKHW, target_BHW).backward()
        self._value(self.plain, exact_BKHW, target_BHW).backward()
        assert found_BKHW.grad is not None
        assert exact_BKHW.grad is not None
        error_BKHW = found_BKHW.grad.double() - exact_BKHW.grad
        return float(error_BKHW.norm() / exact_BKHW.grad.norm()), TOLERANCE[self.precision]

    @property
    def counts(self) -> dict[str, int]:
        """Logits read twice and their gradient written, a byte a label read twice."""
        logits, labels = self.logits[0], self.targets[0]
        once = logits.numel() * logits.element_size()
        return {"parameters": 0, "fewest_bytes": 3 * once + 2 * labels.numel()}

    def _value(self, criterion: Criterion, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        return criterion(logits_BKHW, target_BHW)

    def _random_logits(self) -> Tensor:
        layout = torch.contiguous_format
        if self.variant == "channels_last":
            layout = torch.channels_last
        logits_BKHW = torch.randn(self.batch, self.classes, *self._logits_size())
        return logits_BKHW.to(self.device, TYPES[self.precision]).contiguous(memory_format=layout)

    def _logits_size(self) -> tuple[int, int]:
        return self.size, self.size

    def _random_target(self) -> Tensor:
        cells = -(-self.size // BLOCK)
        label_BHW = torch.randint(self.classes, (self.batch, cells, cells))
        label_BHW = label_BHW.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)
        return label_BHW[:, : self.size, : self.size].contiguous().to(self.device)


class LossTail(LossStep):
    """The end of a network: coarse logits enlarged bilinearly, the loss, and the gradient back.

    stride   pixels per coarse pixel
    banded   whether segkit's loss enlarges band by band, as in training; else all is held, as by
             the other libraries
    """

    def __init__(
        self,
        device: str,
        *,
        library: Library = "segkit",
        loss: str = "dice+ce",
        banded: bool = True,
        stride: int = 4,
        size: int = 256,
        batch: int = 4,
        classes: int = 150,
        precision: Precision = "fp32",
        variant: Variant = "default",
    ) -> None:
        super().__init__(
            device, library=library, loss=loss, size=size, batch=batch, classes=classes,
            precision=precision, variant=variant,
        )  # fmt: skip
        if size % stride:
            raise UsageError(
                "SK-C006", f"size {size} is no multiple of stride {stride}.", "Choose one that is."
            )
        self.stride, self.banded = stride, banded and library == "segkit"

    def _logits_size(self) -> tuple[int, int]:
        return self.size // self.stride, self.size // self.stride

    def _value(self, criterion: Criterion, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        height, width = target_BHW.shape[1:]
        if self.banded:
            value: Tensor = criterion.from_coarse(logits_BKHW, target_BHW, (height, width))  # type: ignore[attr-defined]
            return value
        enlarged_BKHW = F.interpolate(logits_BKHW, (height, width), mode="bilinear")
        return criterion(enlarged_BKHW, target_BHW)


def criterion_of(library: Library, written: str, classes: int) -> Criterion:
    """The library's loss, called as segkit's are."""
    if library == "segkit":
        from segkit import build_loss

        return build_loss(written, num_classes=classes, ignore_index=IGNORED)
    if library == "torch":
        return _cross_entropy
    if library == "monai":
        both = installed("monai.losses", "monai").DiceCELoss(to_onehot_y=True, softmax=True)
        return lambda logits_BKHW, target_BHW: both(logits_BKHW, target_BHW[:, None])
    smp = installed("segmentation_models_pytorch", "segmentation-models-pytorch")
    dice = smp.losses.DiceLoss(mode="multiclass", ignore_index=IGNORED)
    return lambda logits_BKHW, target_BHW: (
        dice(logits_BKHW, target_BHW) + _cross_entropy(logits_BKHW, target_BHW)
    )


def _cross_entropy(logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
    return F.cross_entropy(logits_BKHW, target_BHW, ignore_index=IGNORED)
