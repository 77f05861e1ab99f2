"""Samples of one size put together as tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np
import torch
from torch import Tensor

from segkit.errors import DataError
from segkit.interfaces import Sample


@dataclass(frozen=True)
class Batch:
    """Images of one size with their truth, not normalised; loaders give them on the CPU.

    image_BCHW      uint8, int32 (from 16 bits) or float32, as stored; channels last in memory
    target_BHW      class or ignored label; uint8 from the training loader where all labels fit,
                    else int64
    instances_BHW   int64: 0 background, one number per object; None where the data have none
    ids             the samples' names
    """

    image_BCHW: Tensor
    target_BHW: Tensor
    instances_BHW: Tensor | None
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def parts(self, count: int) -> list[Batch]:
        """The batch in `count` equal parts, in order, which share its memory."""
        if count == 1:
            return [self]
        size = len(self) // count
        places = [slice(start, start + size) for start in range(0, len(self), size)]
        return [replace(self._mapped(itemgetter(place)), ids=self.ids[place]) for place in places]

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; a copy from pinned memory is not waited for."""
        return self._mapped(lambda plane: plane.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """A copy in page-locked memory; torch's DataLoader calls this where pinning is on."""
        return self._mapped(Tensor.pin_memory)

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Batch:
        instances = None if self.instances_BHW is None else change(self.instances_BHW)
        return Batch(change(self.image_BCHW), change(self.target_BHW), instances, self.ids)


def no_mask(sample: Sample) -> DataError:
    return DataError(
        "SK-D017", f"{sample.id} has no mask.", "Training and scores need one for each image."
    )


def collate(samples: Sequence[Sample], label_type: type = np.int64) -> Batch:
    """One batch of samples of one size; raises as BatchUnderWay does."""
    batch = BatchUnderWay(len(samples), label_type)
    for sample in samples:
        batch.add(sample)
    return batch.complete()


class BatchUnderWay:
    """A batch of `count` samples of one size, each put in its place while the next is awaited."""

    def __init__(self, count: int, label_type: type = np.int64) -> None:
        self.ids: list[str] = []
        self.images, self.instances = _Stack(count), _Stack(count, np.int64)
        self.targets = _Stack(count, label_type)

    @property
    def room(self) -> np.ndarray | None:
        """Where the next sample's image will lie, (H, W, C); None before the first is there."""
        return self.images.array[len(self.ids)] if self.images.filled else None

    def add(self, sample: Sample) -> None:
        """Raises DataError SK-D017 without a mask, SK-D011 where channels or depths differ."""
        if sample.mask is None:
            raise no_mask(sample)
        place = len(self.ids)
        self.images.put(place, sample.image, sample.id)
        self.targets.put(place, sample.mask, sample.id)
        if sample.instances is not None:
            self.instances.put(place, sample.instances, sample.id)
        self.ids.append(sample.id)

    def complete(self) -> Batch:
        image_BHWC = self.images.array
        if image_BHWC.dtype == np.uint16:
            image_BHWC = image_BHWC.astype(np.int32)
        instances = self.instances
        return Batch(
            # The channels stay last, as files have them and networks like them best.
            image_BCHW=torch.from_numpy(image_BHWC).permute(0, 3, 1, 2),
            target_BHW=torch.from_numpy(self.targets.array),
            instances_BHW=torch.from_numpy(instances.array) if instances.filled else None,
            ids=tuple(self.ids),
        )


class _Stack:
    """Equal arrays, one after the other, in one that is made when the first is there."""

    def __init__(self, count: int, kind: type | None = None) -> None:
        self.count, self.kind = count, kind
        self.filled = False

    def put(self, place: int, array: np.ndarray, name: str) -> None:
        if not self.filled:
            self.array = np.empty((self.count, *array.shape), self.kind or array.dtype)
            self.filled = True
        if self.array.shape[1:] != array.shape or (
            not self.kind and array.dtype != self.array.dtype
        ):
            raise DataError(
                "SK-D011",
                f"{name} is {array.dtype} {array.shape} in a batch of {self.array.dtype} "
                f"{self.array.shape[1:]}.",
                "Convert the images to one depth and number of channels.",
            )
        if not np.may_share_memory(self.array[place], array):
            self.array[place] = array
