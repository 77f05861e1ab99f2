"""Losses that are functions of a few sums per class, and their weighted sums, in one pass.

On the CPU the logits are read tile by tile, once for the sums and once for the gradient, and
nothing else of their size is held: see segkit_losses.tiles. Anywhere else, where torch.compile
traces, and where a gradient is to have a gradient, a loss is computed plainly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch.nn import functional as F

from segkit_losses.inputs import InputReader
from segkit_losses.tile import ROWS, Wanted
from segkit_losses.tiles import Tiles


class ClassSums(NamedTuple):
    """Sums over the valid pixels, float64, one number a class: see segkit_losses.tile.Wanted."""

    overlap_K: Tensor
    predicted_K: Tensor
    squared_K: Tensor
    pixels_K: Tensor
    entropy_K: Tensor
    focal_K: Tensor


class OnePassLoss(nn.Module, ABC):
    """A loss that says which sums it needs and what it makes of them.

    read     what checks its inputs
    wanted   the sums it needs; None where its options need more than sums: always plain then
    """

    read: InputReader
    wanted: Wanted | None = None

    @abstractmethod
    def plainly(self, logits_BKHW: Tensor, target: Tensor) -> Tensor:
        """The loss step by step, each step by autograd."""

    @abstractmethod
    def from_sums(self, sums: ClassSums) -> Tensor:
        """The loss, from the sums in `wanted`."""

    def forward(self, logits_BKHW: Tensor, target: Tensor) -> Tensor:
        return WeightedLosses(((1.0, self),), self.wanted)(logits_BKHW, target)

    def from_coarse(
        self,
        logits_BKhw: Tensor,
        target: Tensor,
        size: tuple[int, int],
        align_corners: bool = False,
    ) -> Tensor:
        """As segkit.interfaces.CoarseLoss has it."""
        alone = WeightedLosses(((1.0, self),), self.wanted)
        return alone.from_coarse(logits_BKhw, target, size, align_corners)

    @staticmethod
    def fuse(terms: Sequence[tuple[float, OnePassLoss]]) -> WeightedLosses | None:
        """As segkit.interfaces.FusableLoss has it; None where one pass does not give all sums."""
        every = [loss.wanted for _, loss in terms if loss.wanted is not None]
        gammas = {each.gamma for each in every if each.gamma is not None}
        if len(every) < len(terms) or len(gammas) > 1:
            return None
        wanted = Wanted(
            overlap=any(each.overlap for each in every),
            squared=any(each.squared for each in every),
            entropy=any(each.entropy for each in every),
            gamma=gammas.pop() if gammas else None,
        )
        return WeightedLosses(tuple(terms), wanted)


class WeightedLosses:
    """A weighted sum of losses, called as any loss is; the logits are read once for all.

    terms    (weight, loss) of each summand, all of the same classes and ignored label
    wanted   the sums that all of them need together; None: each is computed plainly
    """

    def __init__(self, terms: Sequence[tuple[float, OnePassLoss]], wanted: Wanted | None) -> None:
        self.terms, self.wanted = terms, wanted
        self.read = terms[0][1].read

    def __call__(self, logits_BKHW: Tensor, target: Tensor) -> Tensor:
        self.read.check_shapes(logits_BKHW, target)
        if self.wanted is None or not _in_tiles(logits_BKHW):
            return self.plainly(logits_BKHW, target, 1)
        return self._of_tiles(logits_BKHW, target, 1)

    def from_coarse(
        self,
        logits_BKhw: Tensor,
        target: Tensor,
        size: tuple[int, int],
        align_corners: bool = False,
    ) -> Tensor:
        """The loss of bilinearly enlarged logits, which are not held on a CPU where H and W are the
        same whole multiple of h and w, and align_corners is False.

        size   (H, W) of the enlarged logits, of which the target may cover the upper left part
        """
        height, width = target.shape[-2:]
        scale = size[0] // max(logits_BKhw.shape[2], 1)
        whole = tuple(size) == (logits_BKhw.shape[2] * scale, logits_BKhw.shape[3] * scale)
        if whole and scale > 1 and not align_corners and self._covers(logits_BKhw, target, size):
            return self._of_tiles(logits_BKhw, target, scale)
        if scale > 1 or not whole:
            logits_BKhw = enlarged(logits_BKhw, size, align_corners)
        return self(logits_BKhw[..., :height, :width], target)

    def plainly(self, logits_BKhw: Tensor, target: Tensor, scale: int) -> Tensor:
        """The weighted sum of the losses of the enlarged logits, each step by autograd."""
        if scale > 1:
            size = logits_BKhw.shape[2] * scale, logits_BKhw.shape[3] * scale
            height, width = target.shape[-2:]
            logits_BKhw = enlarged(logits_BKhw, size, False)[..., :height, :width]
        parts = [weight * loss.plainly(logits_BKhw, target) for weight, loss in self.terms]
        return torch.stack(parts).sum()

    def from_sums(self, sums_RK: Tensor) -> Tensor:
        sums = ClassSums(*sums_RK.unbind())
        return torch.stack([weight * loss.from_sums(sums) for weight, loss in self.terms]).sum()

    def _of_tiles(self, logits_BKhw: Tensor, target_BHW: Tensor, scale: int) -> Tensor:
        value: Tensor = _OnePass.apply(logits_BKhw, target_BHW, self, scale)
        return value

    def _covers(self, logits_BKhw: Tensor, target: Tensor, size: tuple[int, int]) -> bool:
        """Whether tiles can be cut; where shapes are wrong the loss of full logits says so."""
        return (
            self.wanted is not None
            and _in_tiles(logits_BKhw)
            and logits_BKhw.shape[1] == self.read.num_classes
            and target.dim() == 3
            and len(target) == len(logits_BKhw)
            and target.shape[1] <= size[0]
            and target.shape[2] <= size[1]
        )


class _OnePass(torch.autograd.Function):
    """The loss by tiles. Between forward and backward nothing is kept but its inputs, and the
    loss's derivatives in the sums, which are K numbers each."""

    @staticmethod
    def forward(
        ctx: Any, logits_BKhw: Tensor, target_BHW: Tensor, loss: WeightedLosses, scale: int
    ) -> Tensor:
        assert loss.wanted is not None
        if isinstance(logits_BKhw, FakeTensor):
            # A step is counted: there is nothing to add up.
            sums_RK, outside = logits_BKhw.new_ones((ROWS, loss.read.num_classes)).double(), 0
        else:
            tiles = Tiles(logits_BKhw, target_BHW, scale, loss.read.ignore_index)
            sums_RK, outside = tiles.sums(loss.wanted)
        if outside:
            loss.read.refuse_out_of_range(target_BHW)
        with torch.enable_grad():
            value = loss.from_sums(sums_RK.requires_grad_())
            (weights_RK,) = torch.autograd.grad(value, sums_RK)
        ctx.save_for_backward(logits_BKhw, target_BHW, weights_RK)
        ctx.loss, ctx.scale = loss, scale
        return value.detach().to(torch.promote_types(logits_BKhw.dtype, torch.float32))

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> tuple[Tensor | None, ...]:
        logits_BKhw, target_BHW, weights_RK = ctx.saved_tensors
        loss, scale = ctx.loss, ctx.scale
        if torch.is_grad_enabled():
            # A gradient that is to have a gradient itself: rare, and left to autograd.
            value = loss.plainly(logits_BKhw, target_BHW, scale)
            (gradient_BKhw,) = torch.autograd.grad(value, logits_BKhw, slopes[0], create_graph=True)
        elif isinstance(logits_BKhw, FakeTensor):
            # What Tiles hold: framed logits, and their gradient.
            framed = [F.pad(logits_BKhw.float(), (1, 1, 1, 1)) for _ in range(2 * (scale > 1))]
            gradient_BKhw = torch.empty_like(logits_BKhw)
            del framed
        else:
            tiles = Tiles(logits_BKhw, target_BHW, scale, loss.read.ignore_index)
            gradient_BKhw = tiles.gradient(weights_RK * slopes[0], loss.wanted)
        return gradient_BKhw, None, None, None


def enlarged(logits_BKhw: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """In float32 at least, as torch.nn.functional.interpolate does it."""
    logits_BKhw = logits_BKhw.to(torch.promote_types(logits_BKhw.dtype, torch.float32))
    return F.interpolate(logits_BKhw, size, mode="bilinear", align_corners=align_corners)


def _in_tiles(logits: Tensor) -> bool:
    plain = type(logits) in (Tensor, nn.Parameter, FakeTensor)
    return plain and logits.device.type == "cpu" and not torch.compiler.is_compiling()
