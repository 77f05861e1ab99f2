"""The one count from which every overlap score of an evaluation is derived."""

from __future__ import annotations

import torch
from torch import Tensor

from segkit.errors import DataError


class ConfusionMatrix:
    """How many pixels of each true class were given each class.

    counts_KK   int64, row: true class, column: predicted class; ignored pixels are in no cell

    Labels outside 0 to K - 1 (other than ignore_index in the truth) are counted apart and make
    `counts_KK` raise DataError SK-D012: nothing is dropped in silence, and no update waits for the
    device.
    """

    def __init__(self, num_classes: int, ignore_index: int | None = None) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        # One bin per cell, then one for ignored pixels and one for labels that are no class.
        self._bins = torch.zeros(num_classes * num_classes + 2, dtype=torch.int64)

    def update(self, label_BHW: Tensor, target_BHW: Tensor) -> None:
        """Adds a batch: two integer tensors of one shape, on one device."""
        if label_BHW.shape != target_BHW.shape:
            raise ValueError(f"labels {tuple(label_BHW.shape)}, truth {tuple(target_BHW.shape)}")
        classes, cells = self.num_classes, self.num_classes**2
        label_N, target_N = label_BHW.reshape(-1).long(), target_BHW.reshape(-1).long()
        valid_N = (target_N >= 0) & (target_N < classes) & (label_N >= 0) & (label_N < classes)
        bin_N = torch.where(valid_N, target_N * classes + label_N, cells + 1)
        if self.ignore_index is not None:
            bin_N = torch.where(target_N == self.ignore_index, cells, bin_N)
        self._bins = self._bins.to(bin_N.device)
        self._bins += torch.bincount(bin_N, minlength=cells + 2)

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
