"""Sets that are drawn, each of a kind that recipes tell apart, and what is decided for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from segkit.config import TrainConfig
from segkit.data.opening.open import open_data
from segkit.distributed import Group
from segkit.recipes.deciding import with_recipe

Pictures = Sequence[tuple[np.ndarray, np.ndarray]]
ALONE = Group(0, 1, 1, torch.device("cpu"))


def cells(count: int, side: int = 64, radius: int = 8, colour: bool = False) -> Pictures:
    """Bright discs anywhere on noise: a world without an up."""
    rng = np.random.default_rng(1)
    pictures = []
    for _ in range(count):
        image = rng.normal(60, 8, (side, side))
        mask = np.zeros((side, side), np.uint8)
        for _ in range(3):
            y, x = rng.integers(radius, side - radius, 2).tolist()
            cv2.circle(mask, (x, y), radius, 1, -1)
        image = (image + 80 * mask).clip(0, 255).astype(np.uint8)
        pictures.append((np.stack([image] * 3, axis=2) if colour else image, mask))
    return pictures


def landscapes(count: int) -> Pictures:
    """Bright sky above ground, the horizon now higher, now lower."""
    rng = np.random.default_rng(2)
    pictures = []
    for _ in range(count):
        mask = np.zeros((64, 64), np.uint8)
        mask[int(rng.integers(24, 40)) :] = 1
        image = rng.normal(200, 8, (64, 64, 3)) - 120 * mask[:, :, None]
        pictures.append((image.clip(0, 255).astype(np.uint8), mask))
    return pictures


def letters(count: int) -> Pictures:
    """An F somewhere: never mirrored."""
    rng = np.random.default_rng(3)
    pictures = []
    for _ in range(count):
        mask = np.zeros((64, 64), np.uint8)
        y, x = rng.integers(4, 36, 2).tolist()
        mask[y : y + 20, x : x + 4] = mask[y : y + 4, x : x + 14] = 1
        mask[y + 9 : y + 12, x : x + 10] = 1
        pictures.append(((40 + 150 * mask).astype(np.uint8), mask))
    return pictures


def exposures(count: int) -> Pictures:
    """Cells by two microscopes, one of which gives dark pictures."""
    return [(image // (6 if n % 2 else 1), mask) for n, (image, mask) in enumerate(cells(count))]


def threads(count: int, side: int = 64) -> Pictures:
    """Lines of one pixel, of which half the resolution leaves nothing."""
    pictures = []
    for image, _ in cells(count, side):
        mask = np.zeros((side, side), np.uint8)
        mask[::8] = 1
        pictures.append((image, mask))
    return pictures


def decided(root: Path, **given: object) -> tuple[TrainConfig, dict[str, str], list[str]]:
    """(settings, reason by setting, cautions) of a training on the folder without weights."""
    config = TrainConfig.model_validate({"data": str(root), "weights": "none", **given})
    config, decisions = with_recipe(config, open_data(root), ALONE)
    reasons = {each.setting: each.reason for each in decisions if each.setting}
    return config, reasons, [each.reason for each in decisions if not each.setting]
