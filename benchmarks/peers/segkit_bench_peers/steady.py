"""Work that is always the same, and slower by a known share where that is asked of it: with it
`benchmarks/agreement.py` shows whether `segkit bench compare` catches a slow-down.

    PEERS_SLOWER=1.2     every step takes a fifth longer than its work
"""

from __future__ import annotations

import os
import time
from typing import Literal

import torch

Work = Literal["product", "convolution", "copy", "elementwise"]


class Steady:
    """A few milliseconds of one kind of work.

    work    product of matrices, convolution, copy of memory, or elementwise functions
    times   how often in a step
    """

    unit = "step"

    def __init__(self, device: str, *, work: Work = "product", times: int = 1) -> None:
        self.device, self.work, self.times = torch.device(device), work, times
        self.slower = float(os.environ.get("PEERS_SLOWER", "1"))

    def set_up(self) -> None:
        torch.manual_seed(0)
        self.matrix = torch.randn(384, 384, device=self.device)
        self.image_BCHW = torch.randn(1, 32, 64, 64, device=self.device)
        self.kernel = torch.randn(32, 32, 3, 3, device=self.device)
        self.long = torch.randn(2**19, device=self.device)
        self.other = torch.empty_like(self.long)

    @torch.inference_mode()
    def run(self) -> int:
        start = time.perf_counter()
        for _ in range(self.times):
            self._once()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        end = start + self.slower * (time.perf_counter() - start)
        while time.perf_counter() < end:
            pass
        return 1

    def _once(self) -> None:
        if self.work == "product":
            torch.mm(self.matrix, self.matrix)
        elif self.work == "convolution":
            torch.conv2d(self.image_BCHW, self.kernel, padding=1)
        elif self.work == "copy":
            self.other.copy_(self.long)
        else:
            torch.exp(self.long, out=self.other).sum()
