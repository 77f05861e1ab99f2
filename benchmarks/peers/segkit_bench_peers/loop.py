"""The plain loop: what a person writes who follows a library's example."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

Mode = Literal["train", "infer"]
Precision = Literal["fp32", "bf16"]
Variant = Literal["default", "best"]

IMAGES_IN_TURN, BLOCK = 8, 16
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TOLERANCE = {"fp32": 1e-4, "bf16": 1e-1}
TOLERANCE_TF32 = 1e-2
CHECKED_SIDE = 128


def keeps_freed_memory() -> None:
    """As `segkit train` has it; raises UsageError where that cannot be."""
    from segkit.api import UsageError
    from segkit.cpu.allocator import keep_freed_memory

    if not keep_freed_memory():
        raise UsageError(
            "SK-C006",
            "Freed memory is kept by the GNU C library, which is not here.",
            "Leave the allocator as it is.",
        )


class PlainLoop(ABC):
    """One network's step: zero_grad, forward, loss, backward, AdamW; or inference.

    `best` differs from `default` in what the library's users are told to switch on: channels-last
    memory, the fused optimizer, and inference_mode in place of no_grad.
    """

    unit = "image"

    def __init__(
        self,
        device: str,
        *,
        mode: Mode,
        size: int,
        batch: int,
        classes: int,
        precision: Precision,
        variant: Variant,
    ) -> None:
        self.device, self.mode, self.size, self.batch = torch.device(device), mode, size, batch
        self.classes, self.precision, self.best = classes, precision, variant == "best"
        self.turn = 0
        self.images: list[Tensor] = []

    @abstractmethod
    def network(self) -> nn.Module:
        """The library's network."""

    def loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The library's loss."""
        return nn.CrossEntropyLoss(ignore_index=255)

    def logits(self, model: nn.Module, image_BCHW: Tensor) -> Tensor:
        """What of the network's output is scored."""
        output: Tensor = model(image_BCHW)
        return output

    def set_up(self) -> None:
        torch.manual_seed(0)
        layout = torch.channels_last if self.best else torch.contiguous_format
        self.model = self.network().to(self.device).to(memory_format=layout)
        self.model.train(self.mode == "train")
        self.criterion = self.loss()
        # The same small rate as segkit's own cases: random labels should move no weights.
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-6, fused=self.best)
        self.inputs(layout)

    def inputs(self, layout: torch.memory_format) -> None:
        """Random images and label maps, several in turn."""
        shape = (self.batch, 3, self.size, self.size)
        self.images = [
            torch.randn(shape).to(self.device).contiguous(memory_format=layout)
            for _ in range(IMAGES_IN_TURN)
        ]
        cells = -(-self.size // BLOCK)
        self.targets = [
            torch.randint(self.classes, (self.batch, cells, cells))
            .repeat_interleave(BLOCK, 1)
            .repeat_interleave(BLOCK, 2)[:, : self.size, : self.size]
            .contiguous()
            .to(self.device)
            for _ in range(IMAGES_IN_TURN)
        ]

    @property
    def counts(self) -> dict[str, int]:
        """What segkit shows beside the times; FLOPs where a step begins with images as tensors."""
        parameters = sum(each.numel() for each in self.model.parameters())
        if not self.images:
            return {"parameters": parameters}
        with FlopCounterMode(display=False) as step:
            self.run()
        with FlopCounterMode(display=False) as forward, torch.no_grad():
            self.logits(self.model, self.images[0])
        return {
            "parameters": parameters,
            "multiply_adds": forward.get_total_flops() // 2,
            "flops": step.get_total_flops(),
        }

    def run(self) -> int:
        self.turn = (self.turn + 1) % IMAGES_IN_TURN
        image_BCHW, target_BHW = self.images[self.turn], self.targets[self.turn]
        if self.mode == "infer":
            with torch.inference_mode() if self.best else torch.no_grad(), self._autocast():
                self.logits(self.model, image_BCHW)
            return self.batch
        self.optimizer.zero_grad()
        with self._autocast():
            logits_BKHW = self.logits(self.model, image_BCHW)
        self.criterion(logits_BKHW.float(), target_BHW).backward()
        self.optimizer.step()
        return self.batch

    def check(self) -> tuple[float, float]:
        """Logits of one image beside those of the same weights in float64."""
        model = copy.deepcopy(self.model).eval()
        reference = copy.deepcopy(model).double().to(memory_format=torch.contiguous_format)
        side = min(self.size, CHECKED_SIDE)
        image_BCHW = self.images[0][:1, :, :side, :side]
        with torch.inference_mode():
            with self._autocast():
                found = self.logits(model, image_BCHW).double()
            expected = self.logits(reference, image_BCHW.double())
        tf32 = self.precision == "fp32" and self.device.type == "cuda"
        allowed = TOLERANCE_TF32 if tf32 else TOLERANCE[self.precision]
        return float((found - expected).norm() / expected.norm()), allowed

    def _autocast(self) -> Any:
        enabled = self.precision != "fp32"
        return torch.autocast(self.device.type, dtype=TYPES["bf16"], enabled=enabled)
