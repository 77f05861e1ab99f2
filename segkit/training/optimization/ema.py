"""An exponential average of the weights: steadier than the last step's; it is scored and saved."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


class WeightAverage(Generic[Model]):
    """A copy of the model that follows it: average += (1 - decay) * (now - average).

    decay   the largest; in step n it is at most n / (9 + n), so that the first step's weights take
            the random start's place, and the average is of about the last tenth of all steps

    Running statistics are averaged with the weights they belong to; counters are copied.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval()
        self.model.requires_grad_(False)
        followers, leaders = self.model.state_dict(), model.state_dict()
        floating = [name for name, tensor in leaders.items() if tensor.is_floating_point()]
        self._pairs: list[tuple[Tensor, Tensor]] = [(followers[n], leaders[n]) for n in floating]
        self._counters = [(followers[n], leaders[n]) for n in leaders if n not in set(floating)]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follows the model after step number `step`, from 0."""
        decay = min(self.decay, step / (9 + step))
        followers = [follower for follower, _ in self._pairs]
        torch._foreach_lerp_(followers, [leader for _, leader in self._pairs], 1 - decay)
        for follower, leader in self._counters:
            follower.copy_(leader)
