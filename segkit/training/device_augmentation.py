"""Flips, quarter turns and colours of a whole batch, where it already lies on the device.

The reading processes then only decode and crop; a GPU does the rest in the time it would otherwise
wait for them. What may happen is the same preset's as on the host; the numbers drawn are others.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from segkit.data.augmentation.recipes import Recipe
from segkit.data.batches import Batch

STREAM = 0x6465_7669  # apart from every other use of the seed


def host_part(recipe: Recipe) -> Recipe:
    """What is left to the reading processes: crops, turns by an angle, deformation, blur, noise."""
    return replace(
        recipe,
        flips="none",
        quarters=False,
        brightness=0.0,
        contrast=0.0,
        saturation=0.0,
        tint=0.0,
        gamma=0.0,
    )


class DeviceAugmentation:
    """Augments batches of square crops; equal (seed, epoch, batch, rank) give equal batches.

    recipe      the preset; its flips, quarter turns and colours are done here
    full_scale  the pixels' highest value
    """

    def __init__(self, recipe: Recipe, *, seed: int, full_scale: float, rank: int = 0) -> None:
        self.recipe, self.seed, self.rank = recipe, seed, rank
        self.full_scale = full_scale

    def __call__(self, batch: Batch, epoch: int, number: int) -> Batch:
        """The batch, on its device, changed; image_BCHW comes back as float32, 0 to full_scale."""
        rng = np.random.default_rng((STREAM, self.seed, epoch, number, self.rank))
        move = self._moves(len(batch.ids), batch.image_BCHW.device, rng)
        image_BCHW = self._colours(move(batch.image_BCHW.float()), rng)
        instances_BHW = None if batch.instances_BHW is None else move(batch.instances_BHW)
        return replace(
            batch,
            image_BCHW=image_BCHW,
            target_BHW=move(batch.target_BHW),
            instances_BHW=instances_BHW,
        )

    def _moves(self, count: int, device: torch.device, rng: np.random.Generator) -> _Moves:
        flips = self.recipe.flips
        drawn = [
            rng.random(count) < 0.5 if flips != "none" else np.zeros(count, bool),
            rng.random(count) < 0.5 if flips == "both" else np.zeros(count, bool),
        ]
        quarters = rng.integers(0, 4, count) if self.recipe.quarters else np.zeros(count, int)
        return _Moves(*(torch.from_numpy(each).to(device) for each in (*drawn, quarters)))

    def _colours(self, image_BCHW: Tensor, rng: np.random.Generator) -> Tensor:
        """As segkit.data.augmentation.colour_changes has it, for a whole batch of floats."""
        recipe, top = self.recipe, self.full_scale
        count, channels = image_BCHW.shape[:2]

        def draw(middle: float, spread: float, *shape: int) -> Tensor:
            values = rng.uniform(middle - spread, middle + spread, (count, *shape))
            return torch.from_numpy(values).to(image_BCHW)

        mean_B111 = image_BCHW.mean(dim=(1, 2, 3), keepdim=True)
        contrast_B111 = draw(1, recipe.contrast, 1, 1, 1)
        shift_B111 = draw(0, recipe.brightness, 1, 1, 1) * top
        tint_BC11 = draw(1, recipe.tint if channels > 1 else 0.0, channels, 1, 1)
        saturation_B111 = draw(1, recipe.saturation if channels == 3 else 0.0, 1, 1, 1)
        exponent_B111 = draw(1, recipe.gamma, 1, 1, 1)
        grey_B1HW = image_BCHW.mean(dim=1, keepdim=True)
        image_BCHW = saturation_B111 * image_BCHW + (1 - saturation_B111) * grey_B1HW
        image_BCHW = contrast_B111 * (image_BCHW - mean_B111) + mean_B111 + shift_B111
        image_BCHW = (tint_BC11 * image_BCHW).clamp(0, top)
        if recipe.gamma:
            image_BCHW = top * (image_BCHW / top) ** exponent_B111
        return image_BCHW


class _Moves:
    """The same flips and quarter turns for pictures and for label maps, a choice per sample."""

    def __init__(self, across_B: Tensor, down_B: Tensor, quarters_B: Tensor) -> None:
        self.across_B, self.down_B, self.quarters_B = across_B, down_B, quarters_B

    def __call__(self, plane: Tensor) -> Tensor:
        plane = _where(self.across_B, plane.flip(-1), plane)
        plane = _where(self.down_B, plane.flip(-2), plane)
        turned = plane
        for turns in (1, 2, 3):
            turned = _where(self.quarters_B == turns, plane.rot90(turns, (-2, -1)), turned)
        return turned


def _where(chosen_B: Tensor, changed: Tensor, plane: Tensor) -> Tensor:
    return torch.where(chosen_B.reshape(-1, *[1] * (plane.ndim - 1)), changed, plane)
