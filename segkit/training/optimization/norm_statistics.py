"""Running statistics of batch norms that are true from the first step on.

A batch norm starts from mean 0 and variance 1 and follows the batches by a tenth. After ten steps a
third of what it normalises with is still that made-up start, and a network that has learnt well
predicts one class everywhere. Until 1 / momentum batches are seen, their plain mean is kept
instead, in which the start counts for nothing, as in Adam's corrected moments (Kingma and Ba 2015,
arXiv:1412.6980). Norms that come with statistics of many batches, from pretraining, are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class YoungNorms:
    """The batch norms of a model that have seen fewer than 1 / momentum batches.

    Their own counters tell, so that a resumed training goes on exactly.
    """

    def __init__(self, model: nn.Module) -> None:
        norms = [each for each in model.modules() if isinstance(each, _BatchNorm)]
        counting = [norm for norm in norms if norm.num_batches_tracked is not None]
        self.norms = [norm for norm in counting if norm.momentum]

    @contextmanager
    def corrected(self) -> Iterator[None]:
        """Around the forward and backward pass of one training batch."""
        counts = _batches_seen(self.norms)
        pairs = [pair for pair in zip(self.norms, counts, strict=True) if _is_young(*pair)]
        self.norms = [norm for norm, _ in pairs]
        before = [(norm.running_mean, norm.running_var) for norm in self.norms]
        starts = [tuple(each.clone() for each in pair if each is not None) for pair in before]
        yield
        after = _batches_seen(self.norms)
        for (norm, seen), count, start in zip(pairs, after, starts, strict=True):
            if count > seen:
                _replace_by_mean(norm, start, seen, count - seen)


def _batches_seen(norms: Sequence[_BatchNorm]) -> list[int]:
    """Asked of a device once for all: each answer is waited for."""
    counters = [norm.num_batches_tracked for norm in norms]
    return torch.stack([each for each in counters if each is not None]).tolist() if norms else []


def _is_young(norm: _BatchNorm, seen: int) -> bool:
    return (seen + 1) * float(norm.momentum or 1.0) < 1.0


@torch.no_grad()
def _replace_by_mean(norm: _BatchNorm, start: Sequence[torch.Tensor], seen: int, new: int) -> None:
    """Makes an exponential mean of `new` batches, after `seen` ones, the plain mean of all.

    The norm holds start + a * (batches - start), with a = 1 - (1 - momentum)**new; wanted is
    start + b * (batches - start), with b = new / (seen + new).
    """
    followed = 1 - (1 - float(norm.momentum or 1.0)) ** new
    share = new / (seen + new) / followed
    for running, old in zip((norm.running_mean, norm.running_var), start, strict=True):
        if running is not None:
            running.copy_(torch.lerp(old, running, share))
    if norm.running_var is not None:
        # Rounding may take the variance of a channel that is nearly constant below zero.
        norm.running_var.clamp_(min=0)
