"""What every loss does first: check shapes and labels, and take the ignored pixels out of play.

An ignored pixel's logits are replaced, not multiplied, by 0: even NaN or infinity there reaches neither the
value nor the gradient. The arithmetic behind is float32 (float64 for float64 logits), under autocast too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from segkit.api import DataError, UsageError

# The label of a pixel that counts for nothing, as torch.nn.functional.cross_entropy understands it.
IGNORED = -100


class Batch(NamedTuple):
    """Logits and truth, ready for arithmetic.

    logits_BKHW  float32 or float64, 0 where ignored
    target       one class a pixel: (B, H, W) int64, IGNORED where ignored;
                 multilabel: (B, K, H, W) of the logits' type, 0 to 1, 0 where ignored
    valid        bool, the shape of target
    """

    logits_BKHW: Tensor
    target: Tensor
    valid: Tensor


class InputReader:
    """Turns what a loss is called with into a Batch.

    multilabel   False: a pixel has one class, target_BHW holds it.
                 True: classes do not exclude each other, target_BKHW holds 0, 1 or ignore_index; a
                 target_BHW of classes is taken as one map a class (with one class, as its 0/1 map)

    A label that is no class raises DataError SK-D012 where the target is in the host's memory. On a device
    nothing waits for the answer: the loss becomes NaN, and no device-side assertion poisons the process.
    """

    def __init__(
        self, name: str, num_classes: int, ignore_index: int | None, multilabel: bool = False
    ) -> None:
        self.name, self.num_classes = name, num_classes
        self.ignore_index, self.multilabel = ignore_index, multilabel
        if not multilabel and num_classes < 2:
            raise UsageError(
                "SK-C007",
                f"'{name}' compares classes, and {num_classes} class leaves nothing to compare.",
                f"Use 2 classes (background and foreground), or {name}(multilabel=true) for one map of 0 and 1.",
            )
        if multilabel and ignore_index in (0, 1):
            raise UsageError(
                "SK-C007",
                f"'{name}' with multilabel=true reads 0 and 1 as truth, and ignore_index is {ignore_index}.",
                "Mark ignored pixels with another value, such as 255.",
            )

    def __call__(self, logits_BKHW: Tensor, target: Tensor) -> Batch:
        self._check_shapes(logits_BKHW, target)
        if logits_BKHW.dtype != torch.float64:
            logits_BKHW = logits_BKHW.float()
        if self.multilabel:
            return self._multilabel(logits_BKHW, target)
        return self._multiclass(logits_BKHW, target.long())

    def _multiclass(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Batch:
        stray_BHW = (target_BHW < 0) | (target_BHW >= self.num_classes)
        if self.ignore_index is None:
            valid_BHW = torch.ones_like(stray_BHW)
        else:
            valid_BHW = target_BHW != self.ignore_index
            stray_BHW = stray_BHW & valid_BHW
        self._refuse(stray_BHW, target_BHW)
        clean_BHW = torch.where(valid_BHW & ~stray_BHW, target_BHW, IGNORED)
        clean_BHW = torch.where(stray_BHW, 0, clean_BHW)
        logits_BKHW = _replaced(logits_BKHW, valid_BHW[:, None], stray_BHW[:, None])
        return Batch(logits_BKHW, clean_BHW, valid_BHW)

    def _multilabel(self, logits_BKHW: Tensor, target: Tensor) -> Batch:
        if target.dim() == 3:
            target = self._one_map_a_class(target)
        valid_BKHW = torch.ones_like(target, dtype=torch.bool)
        if self.ignore_index is not None:
            valid_BKHW = target != self.ignore_index
        stray_BKHW = valid_BKHW & ~((target >= 0) & (target <= 1))
        self._refuse(stray_BKHW, target)
        truth_BKHW = torch.where(valid_BKHW & ~stray_BKHW, target, 0).to(logits_BKHW.dtype)
        return Batch(_replaced(logits_BKHW, valid_BKHW, stray_BKHW), truth_BKHW, valid_BKHW)

    def _one_map_a_class(self, target_BHW: Tensor) -> Tensor:
        if self.num_classes == 1:
            return target_BHW[:, None]
        class_K11 = torch.arange(self.num_classes, device=target_BHW.device)[:, None, None]
        label_B1HW = target_BHW.long()[:, None]
        truth_BKHW = (label_B1HW == class_K11).long()
        other_B1HW = (label_B1HW < 0) | (label_B1HW >= self.num_classes)
        if self.ignore_index is not None:
            other_B1HW = other_B1HW | (label_B1HW == self.ignore_index)
        return torch.where(other_B1HW, label_B1HW, truth_BKHW)

    def _check_shapes(self, logits_BKHW: Tensor, target: Tensor) -> None:
        given, wanted = tuple(logits_BKHW.shape), tuple(target.shape)
        if len(given) != 4 or given[1] != self.num_classes:
            raise UsageError(
                "SK-C007",
                f"'{self.name}' was built for {self.num_classes} classes and got logits of shape {given}.",
                f"Logits are (B, {self.num_classes}, H, W).",
            )
        per_pixel = (given[0], *given[2:])
        if wanted != per_pixel and not (self.multilabel and wanted == given):
            raise UsageError(
                "SK-C007",
                f"'{self.name}' got logits of shape {given} and a target of shape {wanted}.",
                f"The target is {per_pixel}{f' or {given}' if self.multilabel else ''}.",
            )

    def _refuse(self, stray: Tensor, target: Tensor) -> None:
        """Raises where looking costs nothing; elsewhere the NaN of `_replaced` tells."""
        if target.device.type != "cpu" or torch.compiler.is_compiling() or not bool(stray.any()):
            return
        labels = ", ".join(f"{label:g}" for label in target[stray].unique()[:5].tolist())
        known = "0 and 1" if self.multilabel else f"0 to {self.num_classes - 1}"
        raise DataError(
            "SK-D012",
            f"{int(stray.sum()):,} pixels hold labels ({labels}) that are none of the {self.num_classes} "
            f"classes ({known}) and not the ignored label ({self.ignore_index}).",
            "Declare the label as a class, map it with `label_mapping`, or ignore it with `ignore_index`.",
        )


def _replaced(logits_BKHW: Tensor, valid: Tensor, stray: Tensor) -> Tensor:
    nothing = torch.zeros((), dtype=logits_BKHW.dtype, device=logits_BKHW.device)
    return torch.where(valid & ~stray, logits_BKHW, torch.where(stray, nothing / nothing, nothing))


def probabilities(batch: Batch, multilabel: bool) -> tuple[Tensor, Tensor, Tensor]:
    """(probability_BKHW, truth_BKHW, valid_BKHW): softmax or sigmoid, all 0 where ignored."""
    if multilabel:
        probability_BKHW = batch.logits_BKHW.sigmoid()
        truth_BKHW, valid_BKHW = batch.target, batch.valid
    else:
        probability_BKHW = batch.logits_BKHW.softmax(dim=1)
        class_K11 = torch.arange(probability_BKHW.shape[1], device=batch.target.device)[
            :, None, None
        ]
        truth_BKHW = (batch.target[:, None] == class_K11).to(probability_BKHW.dtype)
        valid_BKHW = batch.valid[:, None].expand_as(truth_BKHW)
    return torch.where(valid_BKHW, probability_BKHW, 0), truth_BKHW, valid_BKHW


def weighted_mean(value: Tensor, weight: Tensor) -> Tensor:
    """The sum of values (already weighted) over the sum of weights; 0 where there is no weight at all."""
    total = weight.sum()
    return value.sum() / torch.where(total > 0, total, 1)


def mean_over_present(
    error_K: Tensor, present_K: Tensor, counted_K: Tensor, false_positive_K: Tensor | None
) -> Tensor:
    """The mean error of the counted classes that the truth holds.

    false_positive_K   the mean probability given to a class; where given, its mean over the counted
                       classes that the truth does not hold is added, so that predicting them costs
    """
    present_K = present_K & counted_K
    mean = weighted_mean(torch.where(present_K, error_K, 0), present_K.to(error_K.dtype))
    if false_positive_K is None:
        return mean
    absent_K = counted_K & ~present_K
    return mean + weighted_mean(
        torch.where(absent_K, false_positive_K, 0), absent_K.to(error_K.dtype)
    )


def counted_classes(name: str, classes: Sequence[int] | None, num_classes: int) -> Tensor:
    """The option `classes` as a bool per class; raises UsageError SK-C006 for one that is not there."""
    if classes is None:
        return torch.ones(num_classes, dtype=torch.bool)
    if not classes or any(not 0 <= each < num_classes for each in classes):
        raise UsageError(
            "SK-C006",
            f"{name}: option 'classes' cannot be {list(classes)} with {num_classes} classes.",
            f"Name at least one class from 0 to {num_classes - 1}.",
        )
    counted_K = torch.zeros(num_classes, dtype=torch.bool)
    counted_K[list(classes)] = True
    return counted_K


def class_weight_tensor(name: str, weights: Sequence[float] | None, num_classes: int) -> Tensor:
    """The option `class_weights` as a float64 tensor of K, ones where not given; raises SK-C006."""
    if weights is None:
        return torch.ones(num_classes, dtype=torch.float64)
    if len(weights) != num_classes or any(not 0 <= each < float("inf") for each in weights):
        raise UsageError(
            "SK-C006",
            f"{name}: option 'class_weights' cannot be {list(weights)} with {num_classes} classes.",
            f"Give {num_classes} numbers from 0 up, one per class.",
        )
    return torch.tensor(weights, dtype=torch.float64)


def in_range(
    name: str,
    option: str,
    value: float,
    low: float,
    high: float = float("inf"),
    *,
    above: bool = False,
) -> float:
    """The value, where low <= value <= high (above: low < value); raises UsageError SK-C006."""
    if (low < value if above else low <= value) and value <= high and value < float("inf"):
        return value
    upper = "" if high == float("inf") else f" up to {high:g}"
    raise UsageError(
        "SK-C006",
        f"{name}: option '{option}' cannot be {value}.",
        f"It is a number {'above' if above else 'from'} {low:g}{upper}.",
    )
