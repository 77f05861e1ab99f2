"""One answer of several: the mean probability of each class, of members or of mirrored images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

# Along which of (B, C, H, W) an image is mirrored, by what a model's record says: not, left to
# right, upside down, both.
MIRRORS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "": ((),),
    "horizontal": ((), (3,)),
    "both": ((), (3,), (2,), (2, 3)),
}


def two_at_least(logits_BKHW: Tensor) -> Tensor:
    """The logits, a single one with that of the background, 0, before it."""
    if logits_BKHW.shape[1] > 1:
        return logits_BKHW
    return torch.cat((torch.zeros_like(logits_BKHW), logits_BKHW), dim=1)


def log_mean(answers: Iterable[Tensor]) -> Tensor:
    """The logarithm of the mean probabilities, log_BKHW, of logits_BKHW each, in float32 at least;
    one after the other, so that no more than two of them are held."""
    log_sum_BKHW, count = None, 0
    for logits_BKHW in answers:
        wide = torch.promote_types(logits_BKHW.dtype, torch.float32)
        log_BKHW = two_at_least(logits_BKHW.to(wide)).log_softmax(dim=1)
        log_sum_BKHW = log_BKHW if log_sum_BKHW is None else log_sum_BKHW.logaddexp(log_BKHW)
        count += 1
    if log_sum_BKHW is None:
        raise ValueError("the mean of no answers")
    return log_sum_BKHW - math.log(count)
