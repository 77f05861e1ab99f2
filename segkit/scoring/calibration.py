"""Whether a model is right as often as it says: calibration, and errors among the surest pixels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.scoring.per_image import Scores, divided

BINS, FINE = 15, 1500
# Certainty is added up in whole steps of 2^-26, so that sums do not depend on the batches.
STEP = 2.0**26


class Calibration:
    """Pixels by the probability of the class they are given, and how many of them are right.

    Counted in 1,500 equal bins (lower end left out, upper end counted), which are put together to
    15 for the calibration curve. Ignored pixels are in none.

    temperature   that logits are divided by
    """

    def __init__(self, ignore_index: int | None, temperature: float = 1.0) -> None:
        self.ignore_index, self.temperature = ignore_index, temperature
        # Columns: pixels, right ones, sum of certainty in steps.
        self._sums_F3 = torch.zeros(FINE, 3, dtype=torch.int64)

    def update(self, logits_BKHW: Tensor, label_BHW: Tensor, target_BHW: Tensor) -> Scores:
        """Adds a batch; returns the mean certainty of each image's pixels, all of them.

        The certainty is the softmax probability of the label that is scored.
        """
        logits_BKHW, label_BHW = logits_BKHW.float() / self.temperature, label_BHW.long()
        chosen_BHW = logits_BKHW.gather(1, label_BHW[:, None])[:, 0]
        certainty_BHW = (chosen_BHW - logits_BKHW.logsumexp(dim=1)).exp().nan_to_num()
        valid_BHW = torch.ones_like(label_BHW, dtype=torch.bool)
        if self.ignore_index is not None:
            valid_BHW = target_BHW != self.ignore_index
        certainty_N = certainty_BHW[valid_BHW]
        bin_N = (certainty_N * FINE).ceil().long().clamp(1, FINE) - 1
        right_N = (label_BHW == target_BHW)[valid_BHW].long()
        steps_N = (certainty_N * STEP).long()
        row_N3 = torch.stack((torch.ones_like(right_N), right_N, steps_N), -1)
        self._sums_F3 = self._sums_F3.to(row_N3.device)
        self._sums_F3.index_add_(0, bin_N, row_N3)
        return certainty_BHW.flatten(1).mean(dim=1).double().cpu().numpy()

    @property
    def _fine_F3(self) -> NDArray[np.int64]:
        return self._sums_F3.cpu().numpy()

    def curve(self) -> tuple[NDArray[np.int64], Scores, Scores]:
        """Of 15 bins: pixels, mean certainty, share of right pixels; NaN where a bin is empty."""
        pixels_X, right_X, steps_X = self._fine_F3.reshape(BINS, -1, 3).sum(axis=1).T
        return pixels_X, divided(steps_X / STEP, pixels_X), divided(right_X, pixels_X)

    @property
    def error(self) -> float:
        """Expected calibration error (Guo et al. 2017, arXiv:1706.04599): the mean over pixels of
        |right share - mean certainty| of their bin; 0 is perfect."""
        pixels_X, certainty_X, right_X = self.curve()
        gap_X = np.where(pixels_X > 0, np.abs(right_X - certainty_X), 0)
        return float((gap_X * pixels_X).sum() / pixels_X.sum()) if pixels_X.sum() else float("nan")

    def risk_coverage(self) -> tuple[Scores, Scores]:
        """(coverage, risk): keeping only the surest pixels, the share of the pixels that are kept
        and the share of these that are wrong (El-Yaniv & Wiener 2010), the surest first."""
        pixels_F, right_F, _ = self._fine_F3[::-1].T
        held_F = pixels_F > 0
        kept_F, found_F = np.cumsum(pixels_F[held_F]), np.cumsum(right_F[held_F])
        return divided(kept_F, np.full_like(kept_F, max(pixels_F.sum(), 1))), 1 - found_F / kept_F
