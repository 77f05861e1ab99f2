"""What a training step minimises: the network's output, and the loss of it.

Where the loss can, it enlarges the network's coarse logits itself, band by band: a map of full size
is then never held, neither of the logits nor of their gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from segkit.model.network import CoarseLogits


def output_for(loss: nn.Module, network: Callable[..., Any], image_BCHW: Tensor) -> Any:
    """What `network`, a SegmentationModel however wrapped, is to give the loss: logits_BKHW, or
    CoarseLogits where the loss takes them."""
    if getattr(loss, "from_coarse", None) is None:
        return network(image_BCHW)
    return network(image_BCHW, enlarged=False)


def loss_of(
    loss: nn.Module, output: Any, target_BHW: Tensor, instances_BHW: Tensor | None = None
) -> Tensor:
    """The loss of what `output_for` gave, in float32 at least; labels in 8 bits are welcome."""
    value: Tensor
    if not getattr(loss, "takes_bytes", False):
        target_BHW = target_BHW.long()
    if isinstance(output, CoarseLogits):
        coarse = output
        from_coarse: Any = loss.from_coarse
        value = from_coarse(coarse.logits_BKhw, target_BHW, coarse.size, coarse.align_corners)
    elif getattr(loss, "needs_instances", False):
        value = loss(output.float(), target_BHW, instances_BHW)
    else:
        value = loss(output.float(), target_BHW)
    return value
