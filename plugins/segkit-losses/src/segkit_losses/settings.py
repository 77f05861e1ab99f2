"""Options that need more than a type, checked when a loss is built: UsageError SK-C006."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor, nn

from segkit.api import UsageError


def at_least(name: str, option: str, value: float, low: float) -> float:
    if low <= value < inf:
        return value
    raise _refusal(name, option, value, f"It is a number from {low:g} up.")


def share(name: str, option: str, value: float, *, zero: bool = True) -> float:
    if 0 <= value <= 1 if zero else 0 < value <= 1:
        return value
    raise _refusal(
        name, option, value, f"It is a number from 0{'' if zero else ' (left out)'} to 1."
    )


def one_class(name: str, option: str, value: int, num_classes: int) -> int:
    if 0 <= value < num_classes:
        return value
    raise _refusal(name, option, value, f"Name a class from 0 to {num_classes - 1}.")


def counted_classes(name: str, classes: Sequence[int] | None, num_classes: int) -> Tensor:
    """The option `classes` as a bool per class, all True where not given."""
    if classes is None:
        return torch.ones(num_classes, dtype=torch.bool)
    if not classes or any(not 0 <= each < num_classes for each in classes):
        fix = f"Name at least one class from 0 to {num_classes - 1}."
        raise _refusal(name, "classes", list(classes), fix)
    counted_K = torch.zeros(num_classes, dtype=torch.bool)
    counted_K[list(classes)] = True
    return counted_K


class ClassWeights(nn.Module):
    """The option `class_weights`: a weight per class, all 1 where not given.

    Called with a tensor; returns weight_K of its type and on its device, exact in float64 too.
    """

    float32_K: Tensor

    def __init__(self, name: str, weights: Sequence[float] | None, num_classes: int) -> None:
        super().__init__()
        self.given = (1.0,) * num_classes if weights is None else tuple(weights)
        if len(self.given) != num_classes or any(not 0 <= each < inf for each in self.given):
            fix = f"Give {num_classes} numbers from 0 up, one per class."
            raise _refusal(name, "class_weights", list(self.given), fix)
        # Where the loss is moved to, so that no step copies them; some devices have no float64.
        float32_K = torch.tensor(self.given, dtype=torch.float32)
        self.register_buffer("float32_K", float32_K, persistent=False)

    def forward(self, like: Tensor) -> Tensor:
        if like.dtype == torch.float64:
            return torch.tensor(self.given, dtype=like.dtype, device=like.device)
        return self.float32_K.to(like)


def _refusal(name: str, option: str, value: object, fix: str) -> UsageError:
    return UsageError("SK-C006", f"{name}: option '{option}' cannot be {value}.", fix)
