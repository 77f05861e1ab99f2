"""The one count from which every overlap score of an evaluation is derived."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from segkit.errors import DataError
from segkit.model.label_range import labels_out_of_range

# Pixels at a time: on the CPU as many as stay in the cache, 5 times as fast as all at once.
CPU_CHUNK = 2**18
DEVICE_CHUNK = 2**24
BYTE = 256


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

        Memory beyond the inputs is a few MB, whatever their size.
        """
        if label_BHW.shape != target_BHW.shape:
            raise ValueError(f"labels {tuple(label_BHW.shape)}, truth {tuple(target_BHW.shape)}")
        label_N, target_N = label_BHW.reshape(-1), target_BHW.reshape(-1)
        self._bins = self._bins.to(target_N.device)
        chunk = CPU_CHUNK if target_N.device.type == "cpu" else DEVICE_CHUNK
        for label_n, target_n in zip(label_N.split(chunk), target_N.split(chunk), strict=True):
            bin_n = self._bin(_wide(label_n), _wide(target_n))
            self._bins += torch.bincount(bin_n, minlength=len(self._bins))

    def _bin(self, label_n: Tensor, target_n: Tensor) -> Tensor:
        """The bin of every pixel, int32."""
        classes, cells = self.num_classes, self.num_classes**2
        wrong_n = (target_n < 0) | (target_n >= classes) | (label_n < 0) | (label_n >= classes)
        bin_n = (target_n.int() * classes).add_(label_n.int()).masked_fill_(wrong_n, cells + 1)
        if self.ignore_index is not None:
            bin_n.masked_fill_(target_n == self.ignore_index, cells)
        return bin_n

    @property
    def bins(self) -> Tensor:
        """The whole count as one int64 vector: what is added up over processes."""
        return self._bins

    @property
    def counts_KK(self) -> Tensor:
        if wrong := int(self._bins[-1]):
            raise self.out_of_range(wrong, self.num_classes, self.ignore_index)
        return self._bins[:-2].reshape(self.num_classes, self.num_classes)

    @staticmethod
    def out_of_range(
        pixels: int, num_classes: int, ignore_index: int | None, labels: Iterable[float] = ()
    ) -> DataError:
        """The error for so many pixels, in truth or prediction, whose label is no class.

        For metrics and losses, which see no file's name: training and evaluation have refused
        such masks by name before.
        """
        return labels_out_of_range(pixels, num_classes, ignore_index, labels=labels)

    @property
    def ignored(self) -> int:
        """Pixels left out because their truth is the ignored label."""
        return int(self._bins[-2])

    def reset(self) -> None:
        self._bins.zero_()


def _wide(label_n: Tensor) -> Tensor:
    """Wide enough for any number of classes and any ignore_index: int32 for uint8, else int64."""
    return label_n.int() if label_n.dtype == torch.uint8 else label_n.long()


def as_bytes(label: Tensor) -> Tensor | None:
    """Labels as uint8, or None where one of them does not fit."""
    if label.dtype == torch.uint8:
        return label
    if label.dtype == torch.bool:
        return label.view(torch.uint8)
    lowest, highest = torch.aminmax(label) if label.numel() else (0, 0)
    return label.to(torch.uint8) if lowest >= 0 and highest < BYTE else None
