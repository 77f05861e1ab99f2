"""The learning rate of a step: a linear warm-up, then half a cosine down to nothing."""

from __future__ import annotations

import math


def learning_rate_share(step: int, total_steps: int, warmup_steps: int) -> float:
    """The share of the highest learning rate at `step` of 0 to total_steps - 1.

    A function of the step alone, so that a resumed training needs no state for it. Cosine:
    Loshchilov and Hutter 2017 (arXiv:1608.03983), without restarts.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    remaining = total_steps - warmup_steps
    done = (step - warmup_steps) / max(remaining, 1)
    return 0.5 * (1 + math.cos(math.pi * done))
