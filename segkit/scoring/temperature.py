"""The temperature by which a model's logits are divided to be as certain as it is right.

Guo et al. 2017 (arXiv:1706.04599): one number, fitted on images that were not trained on, which
changes no label.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from segkit.model.network import COLDEST, HOTTEST

# Values of logits that are kept at most: 4 bytes each.
VALUES = 2**24
STEPS = 100


class DrawnPixels:
    """Logits and truths of pixels drawn evenly from all images: each pixel with the same chance.

    Ignored pixels are never drawn. Every pixel is, until there is no room for that.
    """

    def __init__(self, num_classes: int, ignore_index: int | None, values: int = VALUES) -> None:
        self.ignore_index, self.most = ignore_index, max(1, values // num_classes)
        self.seen, self.chance = 0, 1.0
        self._generator = torch.Generator().manual_seed(0)
        self._logits_NK = torch.zeros(0, num_classes)
        self._truth_N, self._lot_N = torch.zeros(0, dtype=torch.int64), torch.zeros(0)

    def update(self, logits_BKHW: Tensor, target_BHW: Tensor) -> None:
        """Adds a batch."""
        truth_N = target_BHW.flatten().long().cpu()
        valid_N = torch.ones_like(truth_N, dtype=torch.bool)
        if self.ignore_index is not None:
            valid_N = truth_N != self.ignore_index
        self.seen += int(valid_N.sum())
        lot_N = torch.rand(len(truth_N), generator=self._generator)
        drawn_N = valid_N & (lot_N < self.chance)
        logits_NK = logits_BKHW.movedim(1, -1).flatten(0, -2)[drawn_N.to(logits_BKHW.device)]
        self._logits_NK = torch.cat((self._logits_NK, logits_NK.float().cpu()))
        self._truth_N = torch.cat((self._truth_N, truth_N[drawn_N]))
        self._lot_N = torch.cat((self._lot_N, lot_N[drawn_N]))
        while len(self) > self.most:
            self.chance /= 2
            stays_N = self._lot_N < self.chance
            self._logits_NK, self._truth_N = self._logits_NK[stays_N], self._truth_N[stays_N]
            self._lot_N = self._lot_N[stays_N]

    def __len__(self) -> int:
        return len(self._lot_N)

    @property
    def logits_NK(self) -> Tensor:
        return self._logits_NK

    @property
    def truth_N(self) -> Tensor:
        return self._truth_N


def fit_temperature(logits_NK: Tensor, truth_N: Tensor) -> float:
    """Where the mean negative log-likelihood of the truth is least, from 0.01 to 100.

    The likelihood has one minimum in the inverse temperature: Newton's steps towards where its
    slope is 0, halved where one would leave the bracket. In float64.
    """
    low, high = 1 / HOTTEST, 1 / COLDEST
    inverse = 1.0
    for _ in range(STEPS):
        slope, bend = _slope_and_bend(logits_NK, truth_N, inverse)
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        step = inverse - slope / bend if bend > 0 else low
        following = step if low < step < high else (low * high) ** 0.5
        if abs(following - inverse) <= 1e-12 * inverse:
            break
        inverse = following
    return 1 / inverse


def negative_log_likelihood(logits_NK: Tensor, truth_N: Tensor, temperature: float = 1.0) -> float:
    """Mean over pixels, in nats."""
    total = 0.0
    for part_NK, some_N in _parts(logits_NK, truth_N):
        log_NK = (part_NK / temperature).log_softmax(dim=1)
        total -= float(log_NK.gather(1, some_N[:, None]).sum())
    return total / max(len(truth_N), 1)


def _slope_and_bend(logits_NK: Tensor, truth_N: Tensor, inverse: float) -> tuple[float, float]:
    """First and second derivative of the mean negative log-likelihood by the inverse temperature:
    mean and variance of the logits under the probabilities."""
    slope = bend = 0.0
    for part_NK, some_N in _parts(logits_NK, truth_N):
        # Of distances to the largest, so that nothing is lost to a constant.
        below_NK = part_NK - part_NK.amax(dim=1, keepdim=True)
        share_NK = (below_NK * inverse).softmax(dim=1)
        mean_N1 = (share_NK * below_NK).sum(dim=1, keepdim=True)
        slope += float((mean_N1 - below_NK.gather(1, some_N[:, None])).sum())
        bend += float((share_NK * (below_NK - mean_N1) ** 2).sum())
    return slope / max(len(truth_N), 1), bend / max(len(truth_N), 1)


def _parts(logits_NK: Tensor, truth_N: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """So many pixels at a time as float64 has room for."""
    count = max(1, 2**20 // max(logits_NK.shape[1], 1))
    pairs = zip(logits_NK.split(count), truth_N.split(count), strict=True)
    for part_NK, some_N in pairs:
        yield part_NK.double(), some_N
