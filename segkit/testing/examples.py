"""Logits, truth and instances for the checks of losses and metrics."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from segkit.testing.subject import Subject

CLASSES = 4
IGNORE = 255


def blobs(batch: int = 2, height: int = 12, width: int = 16, classes: int = CLASSES) -> Tensor:
    """target_BHW in which every class has whole patches of 4x4 pixels, in random places."""
    coarse = torch.randint(0, classes, (batch, height // 4, width // 4))
    coarse.view(-1)[:classes] = torch.arange(classes)
    return coarse.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)


def with_ignored(target_BHW: Tensor, ignore_index: int, share: float = 0.25) -> Tensor:
    return target_BHW.masked_fill(torch.rand(target_BHW.shape) < share, ignore_index)


def disturbed(label_BHW: Tensor, share: float, classes: int = CLASSES) -> Tensor:
    """Labels of which a share is replaced by the next class."""
    return torch.where(torch.rand(label_BHW.shape) < share, (label_BHW + 1) % classes, label_BHW)


def confident_logits(label_BHW: Tensor, classes: int = CLASSES, height: float = 20.0) -> Tensor:
    """logits_BKHW that give all but certainty to the labels."""
    return height * F.one_hot(label_BHW, classes).movedim(-1, 1).float()


def is_multilabel(subject: Subject) -> bool:
    return subject.component.values.get("multilabel") is True


def truth_for(
    subject: Subject, target_BHW: Tensor, ignore_index: int | None, classes: int = CLASSES
) -> Tensor:
    """The truth in the form the loss takes: target_BHW, or target_BKHW of 0, 1 and ignored."""
    if not is_multilabel(subject):
        return target_BHW
    ignored_BHW = target_BHW == (-1 if ignore_index is None else ignore_index)
    hot_BKHW = F.one_hot(target_BHW.masked_fill(ignored_BHW, 0), classes).movedim(-1, 1)
    return hot_BKHW.masked_fill(ignored_BHW[:, None], ignore_index or 0)


def instances_of(target_BHW: Tensor, classes: int = CLASSES) -> Tensor:
    """The 8-connected parts of every class but 0, a number each: the objects of a truth."""
    instances_BHW = torch.zeros_like(target_BHW)
    number_BHW = torch.arange(1, target_BHW.numel() + 1).reshape(target_BHW.shape)
    for label in range(1, classes):
        inside_BHW = target_BHW == label
        found_BHW = torch.where(inside_BHW, number_BHW, 0).double()
        spread_BHW = _spread(found_BHW, inside_BHW)
        while not torch.equal(found_BHW, spread_BHW):
            found_BHW, spread_BHW = spread_BHW, _spread(spread_BHW, inside_BHW)
        instances_BHW += found_BHW.long()
    return instances_BHW


def _spread(number_BHW: Tensor, inside_BHW: Tensor) -> Tensor:
    """Every pixel takes the largest number among itself and its eight neighbours."""
    return F.max_pool2d(number_BHW, kernel_size=3, stride=1, padding=1) * inside_BHW
