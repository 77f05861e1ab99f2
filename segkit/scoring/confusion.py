"""The one count from which every overlap score of an evaluation is derived."""

from __future__ import annotations

import torch
from torch import Tensor

from segkit.errors import DataError

# Pixels at a time: on the CPU as many as stay in the cache, 5 times as fast as all at once.
CPU_CHUNK = 2**18
DEVICE_CHUNK = 2**24
BYTE = 256
# Neighbouring pixels, which are often alike, are counted in so many rows of bins in turn: adding to
# a bin that was added to just before has to wait. At most so many bins, for codes of 16 bits.
TURNS, MOST_BINS = 4, 2**15


class ConfusionMatrix:
    """How many pixels of each true class were given each class.

    counts_KK   int64, row: true class, column: predicted class; ignored pixels are in no cell

    Labels outside 0 to K - 1 (other than ignore_index in the truth) are counted apart and make
    `counts_KK` raise DataError SK-D012, so that nothing is dropped in silence.
    """

    def __init__(self, num_classes: int, ignore_index: int | None = None) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        # One bin per cell, then one for ignored pixels and one for labels that are no class.
        self._bins = torch.zeros(num_classes * num_classes + 2, dtype=torch.int64)

    def update(self, label_BHW: Tensor, target_BHW: Tensor) -> None:
        """Adds a batch: two integer tensors of one shape, on one device.

        Fastest with uint8 on the CPU; memory beyond the inputs is a few MB whatever their size.
        """
        if label_BHW.shape != target_BHW.shape:
            raise ValueError(f"labels {tuple(label_BHW.shape)}, truth {tuple(target_BHW.shape)}")
        label_N, target_N = label_BHW.reshape(-1), target_BHW.reshape(-1)
        self._bins = self._bins.to(target_N.device)
        on_cpu = target_N.device.type == "cpu"
        chunk = CPU_CHUNK if on_cpu else DEVICE_CHUNK
        pairs = _Pairs(self.num_classes) if on_cpu else None
        for label_n, target_n in zip(label_N.split(chunk), target_N.split(chunk), strict=True):
            if pairs is not None and pairs.counted(label_n, target_n):
                continue
            bin_n = self._bin(_wide(label_n), _wide(target_n))
            self._bins += torch.bincount(bin_n, minlength=len(self._bins))
        if pairs is not None:
            self._bins += pairs.bins(self.ignore_index)

    def _bin(self, label_n: Tensor, target_n: Tensor) -> Tensor:
        """The bin of every pixel, int32."""
        classes, cells = self.num_classes, self.num_classes**2
        stray_n = (target_n < 0) | (target_n >= classes) | (label_n < 0) | (label_n >= classes)
        bin_n = (target_n.int() * classes).add_(label_n.int()).masked_fill_(stray_n, cells + 1)
        if self.ignore_index is not None:
            bin_n.masked_fill_(target_n == self.ignore_index, cells)
        return bin_n

    @property
    def bins(self) -> Tensor:
        """The whole count as one int64 vector: what is added up over processes."""
        return self._bins

    @property
    def counts_KK(self) -> Tensor:
        if stray := int(self._bins[-1]):
            raise DataError(
                "SK-D012",
                f"{stray:,} pixels hold a label that is none of the {self.num_classes} classes "
                f"(0 to {self.num_classes - 1}) and not the ignored label ({self.ignore_index}).",
                "Declare the label as a class, map it with `label_mapping`, or ignore it with "
                "`ignore_index`.",
            )
        return self._bins[:-2].reshape(self.num_classes, self.num_classes)

    @property
    def ignored(self) -> int:
        """Pixels left out because their truth is the ignored label."""
        return int(self._bins[-2])

    def reset(self) -> None:
        self._bins.zero_()


def _wide(label_n: Tensor) -> Tensor:
    """Wide enough for any number of classes and any ignore_index: int32 for uint8, else int64."""
    return label_n.int() if label_n.dtype == torch.uint8 else label_n.long()


class _Pairs:
    """Counts of (true label, predicted label) where both fit into a byte, on the CPU.

    Every pair has a code of its own, whatever the labels mean: nothing is compared pixel by pixel,
    and what is ignored or stray shows in the counts.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        # All predictions beyond the classes share the last column.
        self.columns = min(num_classes + 1, BYTE)
        self.turns = TURNS if BYTE * self.columns * TURNS <= MOST_BINS else 1
        self.codes = BYTE * self.columns * self.turns
        self.type = torch.int16 if self.codes <= MOST_BINS else torch.int32
        self.counts: Tensor | None = None
        self.turn_n = torch.empty(0, dtype=self.type)

    def counted(self, label_n: Tensor, target_n: Tensor) -> bool:
        """Adds these pixels; False where a label does not fit into a byte."""
        labels, targets = as_bytes(label_n), as_bytes(target_n)
        if labels is None or targets is None:
            return False
        code_n = targets.to(self.type).mul_(self.columns * self.turns)
        code_n.add_(labels.clamp(max=self.columns - 1), alpha=self.turns)
        if self.turns > 1:
            code_n.add_(self._turn_of(len(code_n)))
        counts = torch.bincount(code_n, minlength=self.codes)
        self.counts = counts if self.counts is None else self.counts.add_(counts)
        return True

    def bins(self, ignore_index: int | None) -> Tensor:
        """As ConfusionMatrix has them: its cells, then ignored pixels, then stray ones."""
        classes = self.num_classes
        bins = torch.zeros(classes * classes + 2, dtype=torch.int64)
        if self.counts is None:
            return bins
        counts_TP = self.counts.view(BYTE, self.columns, self.turns).sum(dim=-1)
        pixels = counts_TP.sum()
        if ignore_index is not None and 0 <= ignore_index < BYTE:
            bins[-2] = counts_TP[ignore_index].sum()
            counts_TP[ignore_index] = 0
        known_TP = counts_TP[:classes, :classes]
        bins[:-2].view(classes, classes)[: len(known_TP), : known_TP.shape[1]] = known_TP
        bins[-1] = pixels - bins[-2] - known_TP.sum()
        return bins

    def _turn_of(self, pixels: int) -> Tensor:
        if len(self.turn_n) < pixels:
            turn_n = torch.arange(self.turns).to(self.type)
            self.turn_n = turn_n.repeat(-(-pixels // self.turns))
        return self.turn_n[:pixels]


def as_bytes(label: Tensor) -> Tensor | None:
    """Labels as uint8, or None where one of them does not fit."""
    if label.dtype == torch.uint8:
        return label
    if label.dtype == torch.bool:
        return label.view(torch.uint8)
    lowest, highest = torch.aminmax(label) if label.numel() else (0, 0)
    return label.to(torch.uint8) if lowest >= 0 and highest < BYTE else None
