"""Random inputs in rotation, so that no step finds its data in a cache left by the step before."""

from __future__ import annotations

from collections.abc import Sized

import torch
from torch import Tensor

from segkit.bench.records.case import Case
from segkit.bench.workloads.contract import load_components
from segkit.device import TYPES

# More than the caches of most processors hold; no fewer than 2 batches, no more than 16.
ROTATION_BYTES = 128 * 2**20
FEWEST, MOST = 2, 16
IGNORE_INDEX = 255
BLOCK = 16
IGNORED_SHARE = 0.02

DTYPES = {"fp32": torch.float32, **TYPES}


class RotatingInputs:
    """What workloads begin with whose inputs are random and take turns."""

    unit = "image"

    def __init__(self, case: Case) -> None:
        self.case, self.units = case, case.batch
        self.device = torch.device(case.device)
        self.training = case.mode == "train"
        self._turn = 0

    def load_code(self) -> None:
        load_components(self.case)

    def next_of(self, inputs: Sized) -> int:
        """Which of the inputs has its turn."""
        at = self._turn % len(inputs)
        self._turn += 1
        return at


def rotation(bytes_each: int) -> int:
    """How many different inputs take turns."""
    return max(FEWEST, min(MOST, ROTATION_BYTES // max(bytes_each, 1) + 1))


def layout_of(case: Case) -> torch.memory_format:
    """The memory layout of the case's images and weights."""
    return torch.channels_last if case.channels_last else torch.contiguous_format


def random_images(case: Case, count: int, batch: int, size: int) -> list[Tensor]:
    """`count` batches of normalised images, float32 (batch, channels, size, size)."""
    return [
        torch.randn(batch, case.channels, size, size)
        .to(case.device)
        .contiguous(memory_format=layout_of(case))
        for _ in range(count)
    ]


def random_targets(case: Case, count: int, batch: int, size: int) -> list[Tensor]:
    """`count` batches of label maps, int64: blocks of 16 x 16 pixels, 2 % of them ignored.

    Maps of segments, not of noise: counting and sorting losses are quicker on them, as in practice.
    """
    cells = -(-size // BLOCK)
    targets = []
    for _ in range(count):
        label_BHW = torch.randint(case.classes, (batch, cells, cells))
        label_BHW[torch.rand(batch, cells, cells) < IGNORED_SHARE] = IGNORE_INDEX
        label_BHW = label_BHW.repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)
        targets.append(label_BHW[:, :size, :size].contiguous().to(case.device))
    return targets
