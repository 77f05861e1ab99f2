"""How far a model's certainty can be believed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from segkit.api import ConfusionMatrix
from segkit_metrics.choices import positive

# Certainty is added up in whole steps of 2^-26: sums are exact, so no order and no split shows.
STEP = 2.0**26


class CalibrationError:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599) over all valid pixels.

    Pixels fall into equal-width bins by the highest softmax probability; the error is the mean over
    pixels of |accuracy - mean probability| of their bin. 0 is perfect, smaller is better.

    bins  how many bins (lower end left out, upper end counted)
    """

    higher_is_better = False
    takes = "logits"
    convention = (
        "over all valid pixels of all images, in equal-width bins of the highest softmax "
        "probability: |accuracy - mean probability| weighted by the bin's pixels"
    )

    def __init__(
        self, num_classes: int, ignore_index: int | None = None, *, bins: int = 15
    ) -> None:
        positive("ece", "bins", bins)
        self.num_classes, self.ignore_index, self.bins = num_classes, ignore_index, bins
        self._reset()

    def _reset(self) -> None:
        # One row a bin, then one for ignored pixels and one for labels that are no class.
        # Columns: pixels, correct ones, sum of certainty in steps.
        self._sums_X3 = torch.zeros(self.bins + 2, 3, dtype=torch.int64)

    @property
    def state(self) -> dict[str, Tensor]:
        return {"sums": self._sums_X3}

    def update(self, logits_BKHW: Tensor, target_BHW: Tensor) -> None:
        target_BHW = target_BHW.long()
        if logits_BKHW.dtype != torch.float64:
            logits_BKHW = logits_BKHW.float()
        certainty_BHW, label_BHW = logits_BKHW.softmax(dim=1).max(dim=1)
        bin_BHW = (certainty_BHW * self.bins).ceil().long().clamp(1, self.bins) - 1
        wrong_BHW = (target_BHW < 0) | (target_BHW >= self.num_classes)
        bin_BHW = torch.where(wrong_BHW, self.bins + 1, bin_BHW)
        if self.ignore_index is not None:
            bin_BHW = torch.where(target_BHW == self.ignore_index, self.bins, bin_BHW)
        correct_BHW = (label_BHW == target_BHW).long()
        steps_BHW = (certainty_BHW.nan_to_num() * STEP).long()
        row_N3 = torch.stack((torch.ones_like(correct_BHW), correct_BHW, steps_BHW), -1)
        self._sums_X3 = self._sums_X3.to(row_N3.device)
        self._sums_X3.index_add_(0, bin_BHW.flatten(), row_N3.flatten(0, -2))

    def compute(self) -> dict[str, float]:
        if wrong := int(self._sums_X3[-1, 0]):
            raise ConfusionMatrix.out_of_range(wrong, self.num_classes, self.ignore_index)
        pixels_X, correct_X, steps_X = self._sums_X3[:-2].cpu().double().unbind(1)
        gap = (correct_X - steps_X / STEP).abs().sum()
        return {"ece": float(gap / pixels_X.sum()) if pixels_X.sum() > 0 else math.nan}

    def reset(self) -> None:
        self._reset()
