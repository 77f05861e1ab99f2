"""What every loss does first: check shapes and labels, and take the ignored pixels out of play.

An ignored pixel's logits are replaced, not multiplied, by 0: even NaN or infinity there reaches
neither value nor gradient. The arithmetic behind is float32, under autocast too, and float64 for
float64 logits.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segkit.api import ConfusionMatrix, UsageError

# The label of a pixel that counts for nothing, as torch.nn.functional.cross_entropy knows it.
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
                 True: classes do not exclude each other, target_BKHW holds 0, 1 or ignore_index;
                 a target_BHW of classes is taken as one map a class (with K = 1, as its 0/1 map)

    A label that is no class raises DataError SK-D012 where the target is in the host's memory. On a
    device nothing waits to look: the loss becomes NaN, and no device-side assertion poisons the
    process.
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
                "Use 2 classes (background and foreground), or a loss with the option "
                "multilabel=true, which takes one map of 0 and 1.",
            )
        if multilabel and ignore_index in (0, 1):
            raise UsageError(
                "SK-C007",
                f"'{name}' with multilabel=true reads 0 and 1 as truth, and ignore_index is "
                f"{ignore_index}.",
                "Mark ignored pixels with another value, such as 255.",
            )

    def __call__(self, logits_BKHW: Tensor, target: Tensor) -> Batch:
        self.check_shapes(logits_BKHW, target)
        if logits_BKHW.dtype != torch.float64:
            logits_BKHW = logits_BKHW.float()
        # A narrow type would take ignore_index -1 for 255.
        if not target.is_floating_point():
            target = target.long()
        if self.multilabel:
            return self._multilabel(logits_BKHW, target)
        return self._multiclass(logits_BKHW, target.long())

    def refuse_out_of_range(self, target_BHW: Tensor) -> None:
        """Raises DataError SK-D012 where a label is no class, if the host can see it."""
        target_BHW = target_BHW.long()
        self._refuse(self._out_of_range(target_BHW), target_BHW)

    def _out_of_range(self, target_BHW: Tensor) -> Tensor:
        outside_BHW = (target_BHW < 0) | (target_BHW >= self.num_classes)
        return self._valid(target_BHW) & outside_BHW

    def _multiclass(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Batch:
        valid_BHW, wrong_BHW = self._valid(target_BHW), self._out_of_range(target_BHW)
        self._refuse(wrong_BHW, target_BHW)
        clean_BHW = torch.where(valid_BHW, target_BHW, IGNORED)
        clean_BHW = torch.where(wrong_BHW, 0, clean_BHW)
        logits_BKHW = _replaced(logits_BKHW, valid_BHW[:, None], wrong_BHW[:, None])
        return Batch(logits_BKHW, clean_BHW, valid_BHW)

    def _multilabel(self, logits_BKHW: Tensor, target: Tensor) -> Batch:
        target_BKHW = self._one_map_a_class(target) if target.dim() == 3 else target
        valid_BKHW = self._valid(target_BKHW)
        wrong_BKHW = valid_BKHW & ~((target_BKHW >= 0) & (target_BKHW <= 1))
        self._refuse(wrong_BKHW, target_BKHW)
        usable_BKHW = valid_BKHW & ~wrong_BKHW
        truth_BKHW = torch.where(usable_BKHW, target_BKHW, 0).to(logits_BKHW.dtype)
        return Batch(_replaced(logits_BKHW, valid_BKHW, wrong_BKHW), truth_BKHW, valid_BKHW)

    def _valid(self, target: Tensor) -> Tensor:
        if self.ignore_index is None:
            return torch.ones_like(target, dtype=torch.bool)
        return target != self.ignore_index

    def _one_map_a_class(self, target_BHW: Tensor) -> Tensor:
        label_B1HW = target_BHW.long()[:, None]
        if self.num_classes == 1:
            return label_B1HW
        class_K11 = torch.arange(self.num_classes, device=target_BHW.device)[:, None, None]
        is_class_B1HW = (label_B1HW >= 0) & (label_B1HW < self.num_classes)
        if self.ignore_index is not None:
            is_class_B1HW = is_class_B1HW & (label_B1HW != self.ignore_index)
        # A label that is no class stays as it is: ignored, or found to be wrong.
        return torch.where(is_class_B1HW, (label_B1HW == class_K11).long(), label_B1HW)

    def check_shapes(self, logits_BKHW: Tensor, target: Tensor) -> None:
        """Raises UsageError SK-C007 where they do not fit the loss or each other."""
        given, wanted = tuple(logits_BKHW.shape), tuple(target.shape)
        if len(given) != 4 or given[1] != self.num_classes:
            raise UsageError(
                "SK-C007",
                f"'{self.name}' was built for {self.num_classes} classes and got logits of shape "
                f"{given}.",
                f"Logits are (B, {self.num_classes}, H, W).",
            )
        per_pixel = (given[0], *given[2:])
        if wanted != per_pixel and not (self.multilabel and wanted == given):
            raise UsageError(
                "SK-C007",
                f"'{self.name}' got logits of shape {given} and a target of shape {wanted}.",
                f"The target is {per_pixel}{f' or {given}' if self.multilabel else ''}.",
            )

    def _refuse(self, wrong: Tensor, target: Tensor) -> None:
        """Raises where looking costs nothing; elsewhere the NaN of `_replaced` tells."""
        if target.device.type != "cpu" or torch.compiler.is_compiling() or not bool(wrong.any()):
            return
        # A map of a multilabel target has two classes, 0 and 1.
        classes = 2 if self.multilabel else self.num_classes
        labels = target[wrong].tolist()
        raise ConfusionMatrix.out_of_range(len(labels), classes, self.ignore_index, labels)


def _replaced(logits_BKHW: Tensor, valid: Tensor, wrong: Tensor) -> Tensor:
    """The logits; 0 where not valid, NaN where the label is wrong."""
    nothing = torch.zeros((), dtype=logits_BKHW.dtype, device=logits_BKHW.device)
    return torch.where(valid & ~wrong, logits_BKHW, torch.where(wrong, nothing / nothing, nothing))


def probabilities(batch: Batch, multilabel: bool) -> tuple[Tensor, Tensor, Tensor]:
    """(probability_BKHW, truth_BKHW, valid_BKHW): softmax or sigmoid, all 0 where ignored."""
    if multilabel:
        probability_BKHW = batch.logits_BKHW.sigmoid()
        truth_BKHW, valid_BKHW = batch.target, batch.valid
    else:
        probability_BKHW = batch.logits_BKHW.softmax(dim=1)
        classes = probability_BKHW.shape[1]
        class_K11 = torch.arange(classes, device=batch.target.device)[:, None, None]
        truth_BKHW = (batch.target[:, None] == class_K11).to(probability_BKHW.dtype)
        valid_BKHW = batch.valid[:, None].expand_as(truth_BKHW)
    return torch.where(valid_BKHW, probability_BKHW, 0), truth_BKHW, valid_BKHW
