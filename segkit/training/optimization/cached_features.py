"""Features of a frozen encoder, computed once an image: a linear head then trains in seconds.

An image is known by its pixels. Each is computed alone, so that its features are the same bits
whichever batch it comes in: a run that goes on after an interruption ends as if it had not been.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from segkit.config import TrainConfig
from segkit.interfaces import Encoder, Features
from segkit.model.network import SegmentationModel

# Of the memory that is free when a training begins.
MEMORY_SHARE = 0.5
MEMORY_INFO = Path("/proc/meminfo")
# Where the system does not tell what is free.
UNKNOWN_BYTES = 2**30


def features_recur(config: TrainConfig) -> bool:
    """Whether every epoch shows a frozen encoder the same pixels of every image."""
    parts = {each.strip() for each in (config.freeze or "").split(",")}
    plain = config.compile == "no" and not config.checkpoint_activations
    same = config.augmentation == "none" and config.crops == "middle"
    return "encoder" in parts and same and plain


class CachedFeatures:
    """What an encoder gave for each image, in memory up to a limit; others are computed again.

    limit   bytes
    """

    def __init__(self, encoder: Encoder, limit: int) -> None:
        self.encoder, self.limit, self.held = encoder, limit, 0
        self._known: dict[bytes, Features] = {}

    @contextmanager
    def answering_for(self, model: SegmentationModel) -> Iterator[None]:
        """Has the model ask here instead of its encoder, inside the block alone: a copy of the
        model that is made outside of it asks its own encoder."""
        model.__dict__["features"] = self.features
        try:
            yield
        finally:
            del model.__dict__["features"]

    def features(self, image_BCHW: Tensor) -> Features:
        """As `encoder(image_BCHW)`, without a gradient."""
        each = [self._of(image_1CHW) for image_1CHW in image_BCHW.split(1)]
        maps = tuple(torch.cat(levels) for levels in zip(*(one.maps for one in each), strict=True))
        if each[0].pool_indices is None:
            return Features(maps)
        indices = zip(*(one.pool_indices or () for one in each), strict=True)
        return Features(maps, tuple(torch.cat(levels) for levels in indices))

    @torch.no_grad()
    def _of(self, image_1CHW: Tensor) -> Features:
        # A copy of its own lies in memory as every other does, wherever in a batch it came from.
        image_1CHW = image_1CHW.clone()
        pixels = image_1CHW.contiguous().view(torch.uint8).cpu().numpy()
        key = blake2b(pixels.tobytes(), digest_size=16).digest()
        if key in self._known:
            return self._known[key]
        found: Features = self.encoder(image_1CHW)
        size = sum(each.nbytes for each in (*found.maps, *(found.pool_indices or ())))
        if self.held + size <= self.limit:
            self._known[key], self.held = found, self.held + size
        return found


def memory_for_features(device: torch.device) -> int:
    """Bytes that features may take on a device: half of what is free."""
    if device.type == "cuda":
        return int(MEMORY_SHARE * torch.cuda.mem_get_info(device)[0])
    if MEMORY_INFO.is_file():
        for line in MEMORY_INFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(MEMORY_SHARE * 1024 * int(line.split()[1]))
    return UNKNOWN_BYTES
