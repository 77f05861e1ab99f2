"""Losses that are functions of a few sums per class, and their weighted sums, in one pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache, reduce
from importlib.util import find_spec
from operator import add
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segkit_losses.enlarging import Enlargement
from segkit_losses.inputs import InputReader
from segkit_losses.sums import class_sums
from segkit_losses.tiles import Wanted


class ClassSums(NamedTuple):
    """Sums over the valid pixels, float64, one number a class: see segkit_losses.sums."""

    overlap_K: Tensor
    predicted_K: Tensor
    squared_K: Tensor
    pixels_K: Tensor
    entropy_K: Tensor
    focal_K: Tensor


class OnePassLoss(nn.Module, ABC):
    """A loss that says which sums it needs and what it makes of them.

    read     what checks its inputs
    wanted   the sums it needs; None where its options need more than sums: it is then computed
             plainly, as on devices without a one-pass computation
    """

    read: InputReader
    wanted: Wanted | None = None
    takes_bytes = True

    def forward(self, logits_BKHW: Tensor, target: Tensor) -> Tensor:
        if self.wanted is None or not _has_one_pass(logits_BKHW.device):
            return self.plainly(logits_BKHW, target)
        return OnePass(((1.0, self),), self.wanted)(logits_BKHW, target)

    @property
    def from_coarse(self) -> Callable[..., Tensor] | None:
        """As segkit.interfaces.Loss has it."""
        return None if self.wanted is None else OnePass(((1.0, self),), self.wanted).from_coarse

    @abstractmethod
    def plainly(self, logits_BKHW: Tensor, target: Tensor) -> Tensor:
        """The loss step by step, each step by autograd."""

    @abstractmethod
    def from_sums(self, sums: ClassSums) -> Tensor:
        """The loss, from the sums in `wanted`; autograd must find its way through."""

    @staticmethod
    def fuse(terms: Sequence[tuple[float, OnePassLoss]]) -> OnePass | None:
        """Their weighted sum as one loss of one pass; None where there is no such thing."""
        wanted = [loss.wanted for _, loss in terms]
        if any(each is None for each in wanted):
            return None
        every = [each for each in wanted if each is not None]
        gammas = {each.gamma for each in every} - {None}
        if len(gammas) > 1:
            return None
        together = Wanted(
            overlap=any(each.overlap for each in every),
            squared=any(each.squared for each in every),
            entropy=any(each.entropy for each in every),
            gamma=gammas.pop() if gammas else None,
        )
        return OnePass(tuple(terms), together)


class OnePass:
    """A weighted sum of losses, called as any loss is; the logits are read once.

    terms    (weight, loss) of each summand, all of the same classes and ignored label
    wanted   the sums that all of them need together
    """

    def __init__(self, terms: Sequence[tuple[float, OnePassLoss]], wanted: Wanted) -> None:
        self.terms, self.wanted = terms, wanted
        self.read = terms[0][1].read

    def __call__(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        self.read.check_shapes(logits_BKHW, target_BHW)
        if not _has_one_pass(logits_BKHW.device):
            return self._plainly(logits_BKHW, target_BHW)
        return self._of_sums(logits_BKHW, target_BHW, None)

    def from_coarse(
        self,
        logits_BKhw: Tensor,
        target_BHW: Tensor,
        size: tuple[int, int],
        align_corners: bool = False,
    ) -> Tensor:
        """The loss of bilinearly enlarged logits, which are never held where that can be avoided.

        size   (H, W) of the enlarged logits, of which the target may cover the upper left part
        """
        height, width = target_BHW.shape[-2:]
        if tuple(size) == tuple(logits_BKhw.shape[2:]):
            return self(logits_BKhw[..., :height, :width], target_BHW)
        enlargement = Enlargement((size[0], size[1]), align_corners)
        if self._fits(logits_BKhw, target_BHW, enlargement):
            return self._of_sums(logits_BKhw, target_BHW, enlargement)
        logits_BKhw = logits_BKhw.to(torch.promote_types(logits_BKhw.dtype, torch.float32))
        logits_BKHW = F.interpolate(logits_BKhw, size, mode="bilinear", align_corners=align_corners)
        return self(logits_BKHW[..., :height, :width], target_BHW)

    def _fits(self, logits_BKhw: Tensor, target_BHW: Tensor, enlargement: Enlargement) -> bool:
        """Whether tiles can be cut; where shapes are wrong the loss of full logits says so."""
        images, classes, height, width = logits_BKhw.shape
        return (
            logits_BKhw.device.type == "cpu"
            and classes == self.read.num_classes
            and target_BHW.dim() == 3
            and target_BHW.shape[0] == images
            and target_BHW.shape[1] <= enlargement.size[0]
            and target_BHW.shape[2] <= enlargement.size[1]
            and height * width > 0
        )

    def _of_sums(
        self, logits_BKHW: Tensor, target_BHW: Tensor, enlargement: Enlargement | None
    ) -> Tensor:
        ignore_index = self.read.ignore_index
        sums_RK, stray = class_sums(logits_BKHW, target_BHW, self.wanted, ignore_index, enlargement)
        checked = target_BHW.device.type == "cpu" and not torch.compiler.is_compiling()
        if checked and bool(stray):
            self.read.refuse_strays(target_BHW)
        sums = ClassSums(*sums_RK.unbind())
        value = reduce(add, (weight * loss.from_sums(sums) for weight, loss in self.terms))
        if not checked:
            # Nothing waits to look: value and gradient become NaN.
            value = value * torch.where(stray > 0, torch.nan, 1.0)
        return value.to(torch.float64 if logits_BKHW.dtype == torch.float64 else torch.float32)

    def _plainly(self, logits_BKHW: Tensor, target_BHW: Tensor) -> Tensor:
        parts = [weight * loss.plainly(logits_BKHW, target_BHW) for weight, loss in self.terms]
        return torch.stack(parts).sum()


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _has_one_pass(device: torch.device) -> bool:
    # On the meta device a step is counted, as `segkit plan` does: as it would be taken.
    return device.type in ("cpu", "meta") or (
        device.type == "cuda" and torch.version.cuda is not None and _has_triton()
    )
