"""The loss of a network that separates objects: that of the classes, and that of the maps."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from segkit.errors import DataError
from segkit.model.loss_sum import LossOfMaps, loss_of
from segkit.separation.contract import Separation


def no_instances() -> DataError:
    return DataError(
        "SK-D037",
        "the data tell no objects apart: their masks hold classes, and no object numbers.",
        "--separate needs masks with a number for each object; leave it out, or give such masks.",
    )


class SeparatingLoss(LossOfMaps):
    """Called with the classes' logits and the separation's maps behind them, one after the other.

    The separation's loss is averaged over objects and over the rest by themselves, half each, so
    that few small objects count as much as the ground around them. Ignored pixels count for
    nothing.
    """

    needs_instances = True

    def __init__(
        self, classes: nn.Module, num_classes: int, separation: Separation, ignore_index: int | None
    ) -> None:
        super().__init__()
        self.classes, self.num_classes = classes, num_classes
        self.separation, self.ignore_index = separation, ignore_index

    def forward(
        self, output_BXHW: Tensor, target_BHW: Tensor, instances_BHW: Tensor | None = None
    ) -> Tensor:
        if instances_BHW is None:
            raise no_instances()
        logits_BKHW = output_BXHW[:, : self.num_classes]
        value = loss_of(self.classes, logits_BKHW, target_BHW, instances_BHW)
        wanted = np.stack([self.separation.targets(each) for each in instances_BHW.cpu().numpy()])
        maps_BMHW = output_BXHW[:, self.num_classes :]
        wanted_BMHW = torch.from_numpy(wanted).to(maps_BMHW)
        object_BHW = instances_BHW != 0
        counted_BHW = torch.ones_like(object_BHW)
        if self.ignore_index is not None:
            counted_BHW = target_BHW != self.ignore_index
        error_BHW = self.separation.loss(maps_BMHW, wanted_BMHW, object_BHW)
        parts = [
            _mean(error_BHW, where_BHW & counted_BHW) for where_BHW in (object_BHW, ~object_BHW)
        ]
        return value + (parts[0] + parts[1]) / 2


def _mean(error_BHW: Tensor, where_BHW: Tensor) -> Tensor:
    """Over the pixels there; 0 where there is none."""
    return torch.where(where_BHW, error_BHW, 0).sum() / where_BHW.sum().clamp_min(1)
