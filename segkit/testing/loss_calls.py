"""How a loss is built and called in the checks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segkit.model.loss_sum import takes_instances
from segkit.testing.examples import (
    CLASSES,
    IGNORE,
    instances_of,
    truth_for,
)
from segkit.testing.subject import Subject, require


def build(subject: Subject, ignore_index: int | None) -> nn.Module:
    loss: nn.Module = subject.build(num_classes=CLASSES, ignore_index=ignore_index)
    return loss


def call(
    subject: Subject,
    loss: nn.Module,
    logits_BKHW: Tensor,
    target_BHW: Tensor,
    ignore_index: int | None,
    classes: int = CLASSES,
) -> Tensor:
    truth = truth_for(subject, target_BHW, ignore_index, classes)
    value: Tensor = loss(logits_BKHW, truth, *instances_for(loss, target_BHW))
    require(isinstance(value, Tensor), f"it returns {type(value).__name__}, not a tensor")
    return value


def value_of(subject: Subject, loss: nn.Module, logits_BKHW: Tensor, target_BHW: Tensor) -> float:
    return call(subject, loss, logits_BKHW, target_BHW, IGNORE).item()


def logits(batch: int = 2, height: int = 12, width: int = 16) -> Tensor:
    return torch.randn(batch, CLASSES, height, width)


def instances_for(loss: nn.Module, target_BHW: Tensor) -> tuple[Tensor, ...]:
    return (instances_of(target_BHW),) if takes_instances(loss) else ()
