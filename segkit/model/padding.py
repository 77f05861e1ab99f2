"""Images filled up at their border by mirroring, however small they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mirror_pad(image_BCHW: Tensor, margin: int, surplus: Sequence[int]) -> Tensor:
    """Mirrors the border, edge pixel not repeated, by `margin` a side and `surplus` (h, w) more.

    Images smaller than the margin are mirrored as often as needed, which F.pad refuses.
    """
    height, width = image_BCHW.shape[-2:]
    row_H = _mirrored(height, margin, margin + surplus[0], image_BCHW.device)
    column_W = _mirrored(width, margin, margin + surplus[1], image_BCHW.device)
    return image_BCHW[..., row_H, :][..., column_W]


def _mirrored(length: int, before: int, after: int, device: torch.device) -> Tensor:
    place = torch.arange(-before, length + after, device=device)
    # A tensor, since torch's exporter takes no remainder of a length that it leaves open.
    period = torch.full_like(place, max(2 * (length - 1), 1))
    place = torch.remainder(place, period)
    return torch.minimum(place, period - place) if length > 1 else torch.zeros_like(place)
