"""How values become one number: weighted means that are 0, not NaN, where nothing counts."""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_mean(value: Tensor, weight: Tensor) -> Tensor:
    """The sum of values, already weighted, over the sum of weights; 0 without any weight."""
    total = weight.sum()
    return value.sum() / torch.where(total > 0, total, 1)


def mean_over_present(
    error_K: Tensor, present_K: Tensor, counted_K: Tensor, false_positive_K: Tensor | None
) -> Tensor:
    """The mean error of the counted classes that the batch's truth holds.

    false_positive_K   the mean probability a class is given; where passed, its mean over the
                       counted classes that the truth does not hold is added: predicting them costs
    """
    counted_K = counted_K.to(error_K.device)
    mean = _mean_where(counted_K & present_K, error_K)
    if false_positive_K is None:
        return mean
    return mean + _mean_where(counted_K & ~present_K, false_positive_K)


def _mean_where(chosen_K: Tensor, value_K: Tensor) -> Tensor:
    return weighted_mean(torch.where(chosen_K, value_K, 0), chosen_K.to(value_K.dtype))
