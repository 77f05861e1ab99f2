"""How a loss is called, whatever it can do beyond its contract; and weighted sums of losses.

Nowhere else is asked whether a loss is an InstanceLoss, a CoarseLoss, a FusableLoss or a
LossOfMaps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segkit.interfaces import CoarseLoss, FusableLoss, InstanceLoss, Loss
from segkit.model.network import CoarseLogits


class LossOfMaps(nn.Module):
    """A loss that takes a network's further maps too, behind the classes' logits."""


def takes_instances(loss: object) -> bool:
    """Whether the loss looks at single objects."""
    return isinstance(loss, InstanceLoss) and loss.needs_instances


def takes_coarse_logits(loss: object) -> bool:
    """Whether the loss enlarges a network's logits itself; a sum, whether all of it does."""
    return isinstance(loss.whole if isinstance(loss, LossSum) else loss, CoarseLoss)


def output_for(loss: nn.Module, network: Callable[..., Any], image_BCHW: Tensor) -> Any:
    """What `network`, a SegmentationModel however wrapped, is to give the loss: logits_BKHW, or
    CoarseLogits where the loss takes them: a map of full size is then never held, neither of the
    logits nor of their gradient. Further maps come with coarse logits only."""
    if takes_coarse_logits(loss) or isinstance(loss, LossOfMaps):
        return network(image_BCHW, enlarged=False)
    return network(image_BCHW)


def loss_of(
    loss: nn.Module,
    output: Tensor | CoarseLogits,
    target_BHW: Tensor,
    instances_BHW: Tensor | None = None,
) -> Tensor:
    """The loss of a network's output, in float32 at least; labels of any integer type.

    Coarse logits are enlarged by the loss where it can, else here.
    """
    target_BHW = target_BHW.long()
    if isinstance(output, CoarseLogits):
        if takes_coarse_logits(loss):
            coarse: Any = loss
            value: Tensor = coarse.from_coarse(output.logits_BKhw, target_BHW, *output[1:])
            return value
        output = _enlarged(output, target_BHW)
    return _called(loss, _wide(output), target_BHW, instances_BHW)


class LossSum(nn.Module):
    """A weighted sum of losses, as `0.5*dice + ce` names it: an InstanceLoss and a CoarseLoss.

    terms   (weight, name, loss) of each summand

    Summands that have one and the same `fuse` are computed together, see FusableLoss.
    whole   what computes all summands together; None where some are computed by themselves
    """

    def __init__(self, terms: Sequence[tuple[float, str, nn.Module]]) -> None:
        super().__init__()
        self.weights = [weight for weight, _, _ in terms]
        self.names = [name for _, name, _ in terms]
        self.losses = nn.ModuleList([loss for _, _, loss in terms])
        # Not registered as modules: the losses they compute are, and hold the state.
        self.together = _fused([(weight, loss) for weight, _, loss in terms])
        self.whole: Loss | None = None
        if len(self.together) == 1 and len(self.together[0][0]) == len(terms):
            self.whole = self.together[0][1]

    @property
    def needs_instances(self) -> bool:
        return any(takes_instances(loss) for loss in self.losses)

    def forward(
        self, logits_BKHW: Tensor, target_BHW: Tensor, instances_BHW: Tensor | None = None
    ) -> Tensor:
        parts = [fused(logits_BKHW, target_BHW) for _, fused in self.together]
        done = {place for places, _ in self.together for place in places}
        for place, (weight, loss) in enumerate(zip(self.weights, self.losses, strict=True)):
            if place not in done:
                parts.append(weight * _called(loss, logits_BKHW, target_BHW, instances_BHW))
        return sum(parts[1:], parts[0])

    def from_coarse(
        self,
        logits_BKhw: Tensor,
        target_BHW: Tensor,
        size: tuple[int, int],
        align_corners: bool = False,
    ) -> Tensor:
        """As CoarseLoss has it; enlarged here where `whole` does not do it."""
        if isinstance(self.whole, CoarseLoss):
            return self.whole.from_coarse(logits_BKhw, target_BHW, size, align_corners)
        coarse = CoarseLogits(logits_BKhw, size, align_corners)
        value: Tensor = self(_enlarged(coarse, target_BHW), target_BHW)
        return value


def _called(
    loss: nn.Module, logits_BKHW: Tensor, target_BHW: Tensor, instances_BHW: Tensor | None
) -> Tensor:
    extra = (instances_BHW,) if takes_instances(loss) else ()
    value: Tensor = loss(logits_BKHW, target_BHW, *extra)
    return value


def _enlarged(coarse: CoarseLogits, target_BHW: Tensor) -> Tensor:
    """Of the target's size."""
    logits_BKHW = F.interpolate(
        _wide(coarse.logits_BKhw),
        coarse.size,
        mode="bilinear",
        align_corners=coarse.align_corners,
    )
    height, width = target_BHW.shape[-2:]
    return logits_BKHW[..., :height, :width]


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _fused(terms: Sequence[tuple[float, nn.Module]]) -> list[tuple[list[int], Loss]]:
    """(places of the summands, what computes their weighted sum) for those that can be fused."""
    groups: dict[Any, list[int]] = {}
    for place, (_, loss) in enumerate(terms):
        if isinstance(loss, FusableLoss):
            groups.setdefault(loss.fuse, []).append(place)
    made = [(places, fuse([terms[place] for place in places])) for fuse, places in groups.items()]
    return [(places, fused) for places, fused in made if fused is not None]
