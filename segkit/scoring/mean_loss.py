"""The loss of a training on whole images: each image's own, and the mean of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from segkit.data.batches import Batch
from segkit.distributed import Group
from segkit.model.loss_sum import loss_of, takes_instances
from segkit.model.network import CoarseLogits


class MeanLoss:
    """The mean over images of a loss that is computed of each image by itself.

    So it is the same however the images are batched and shared by processes, and a small image
    counts as much as a large one. Images of which every pixel is ignored count for nothing. A loss
    of a training batch is computed of its crops together: the two are alike, not the same measure.

    ignore_index   the label that counts for nothing, where there is one
    """

    def __init__(self, loss: nn.Module, ignore_index: int | None) -> None:
        self.loss, self.ignore_index = loss, ignore_index
        self._sum, self._count = 0.0, 0

    @torch.no_grad()
    def update(self, output: CoarseLogits, batch: Batch) -> None:
        """Adds the images of a batch, on the device of the logits, in the order of the batch."""
        device = output.logits_BKhw.device
        target_BHW = batch.target_BHW.to(device, non_blocking=True)
        instances_BHW = batch.instances_BHW if takes_instances(self.loss) else None
        if instances_BHW is not None:
            instances_BHW = instances_BHW.to(device, non_blocking=True)
        trains = self.loss.training
        self.loss.eval()
        values = [
            loss_of(
                self.loss,
                output._replace(logits_BKhw=output.logits_BKhw[one]),
                target_BHW[one],
                None if instances_BHW is None else instances_BHW[one],
            )
            for one in (slice(place, place + 1) for place in range(len(target_BHW)))
        ]
        self.loss.train(trains)
        counted_B = self._counted(target_BHW)
        loss_B = torch.stack([value.float() for value in values]).where(counted_B, 0)
        # Added up on the CPU: not every device has float64.
        self._sum += math.fsum(loss_B.tolist())
        self._count += int(counted_B.sum())

    def value(self, group: Group) -> float:
        """Summed over processes, which all get the same; NaN where no image counted."""
        sum_and_count = torch.tensor([self._sum, self._count], dtype=torch.float64)
        group.sum_(sum_and_count)
        total, count = sum_and_count.tolist()
        return total / count if count else math.nan

    def _counted(self, target_BHW: Tensor) -> Tensor:
        if self.ignore_index is None:
            return torch.ones(len(target_BHW), dtype=torch.bool, device=target_BHW.device)
        return (target_BHW != self.ignore_index).flatten(1).any(dim=1)
