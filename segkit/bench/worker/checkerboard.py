"""Checkerboard artefacts: what upsampling adds at its own frequencies (Odena et al. 2016,
Deconvolution and Checkerboard Artifacts, Distill, doi:10.23915/distill.00003).

A network is shown smooth images, which hold nothing at fine periods; what its logits hold at
periods of exactly 2, 4, ... up to its deepest stride was put there by its upsampling. The measure
is that share of the spectrum's energy, mean and border apart: 0 is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from segkit.config import TrainConfig
    from segkit.model.network import SegmentationModel

SIDE, IMAGES = 192, 4
# Border pixels, where padding shows, and the cells of the smooth images.
BORDER, CELLS = 32, 4
ENLARGED, SHOWN = 4, 48
TITLE = 18


def checkerboard_energy(maps_BCHW: Tensor, deepest: int) -> float:
    """The share of energy at periods 2, 4, ... `deepest` along either axis, 0 to 1.

    maps_BCHW   height and width are multiples of `deepest`
    The mean of each map counts for nothing.
    """
    spectrum_BCHW = torch.fft.fft2(maps_BCHW.double()).abs().square()
    energy_HW = spectrum_BCHW.sum(dim=(0, 1))
    height, width = energy_HW.shape
    rows_H, columns_W = _multiples(height, deepest), _multiples(width, deepest)
    # Exactly at the grid's frequencies, in both directions at once: a pattern that repeats.
    grid_HW = rows_H[:, None] & columns_W[None, :]
    grid_HW[0, 0] = False
    total = float(energy_HW.sum() - energy_HW[0, 0])
    return float(energy_HW[grid_HW].sum()) / total if total > 0 else 0.0


def smooth_images(count: int, channels: int, side: int, seed: int = 0) -> Tensor:
    """Slow waves of whole periods, so that no frequency but theirs is in them: (B, C, side, side).

    At most CELLS periods across the image.
    """
    generator = torch.Generator().manual_seed(seed)
    place = torch.arange(side) / side * 2 * torch.pi
    image_BCHW = torch.zeros(count, channels, side, side)
    for across in range(CELLS + 1):
        for down in range(CELLS + 1):
            phase_BC11 = torch.rand(count, channels, 1, 1, generator=generator) * 2 * torch.pi
            weight_BC11 = torch.randn(count, channels, 1, 1, generator=generator)
            wave = across * place[None, :] + down * place[:, None]
            image_BCHW += weight_BC11 * torch.cos(wave + phase_BC11) / (1 + across + down)
    return image_BCHW / image_BCHW.std()


@torch.no_grad()
def network_energy(model: SegmentationModel) -> tuple[float, Tensor]:
    """The measure of a network's logits away from the border, and the logits."""
    model.eval()
    channels = model.record.in_channels
    device = next(model.parameters()).device
    deepest = int(model.encoder.strides[-1])
    side = max(SIDE, 6 * deepest) // deepest * deepest
    logits_BKHW = model(smooth_images(IMAGES, channels, side).to(device)).float().cpu()
    border = -(-BORDER // deepest) * deepest
    inner_BKHW = logits_BKHW[..., border : side - border, border : side - border]
    return checkerboard_energy(without_slow(inner_BKHW, deepest), deepest), inner_BKHW


def without_slow(maps_BCHW: Tensor, deepest: int) -> Tensor:
    """The maps less their local means over the coarsest period: what slowly changes is no grid."""
    channels = maps_BCHW.shape[1]
    kernel = torch.full((channels, 1, deepest, deepest), 1 / deepest**2)
    left, right = (deepest - 1) // 2, deepest // 2
    padded_BCHW = F.pad(maps_BCHW, (left, right, left, right), mode="reflect")
    return maps_BCHW - F.conv2d(padded_BCHW, kernel, groups=channels)


def before_and_after(
    trained: SegmentationModel, config: TrainConfig, picture: Path
) -> dict[str, Any]:
    """Fields of Checkerboard: the network at random weights and as trained; writes the picture."""
    from segkit.model.compose import build_model
    from segkit.training.checkpoint.state import seed_everything

    seed_everything(config.seed)
    record = trained.record
    fresh = build_model(
        config.encoder,
        config.decoder,
        config.upsampler,
        num_classes=record.num_classes,
        in_channels=record.in_channels,
    )
    at_start, first_BKHW = network_energy(fresh)
    after, last_BKHW = network_energy(trained.cpu())
    panels = [("at start", first_BKHW, at_start), ("trained", last_BKHW, after)]
    _sheet([(f"{name}: {share:.1%}", _panel(maps)) for name, maps, share in panels]).save(picture)
    return {"at_start": at_start, "after_training": after, "picture": picture.name}


def _multiples(length: int, deepest: int) -> Tensor:
    frequency = torch.arange(length)
    return frequency % (length // deepest) == 0


def _panel(maps_BKHW: Tensor) -> Image.Image:
    """The middle of the map that varies most, magnified, darkest to lightest."""
    varying = maps_BKHW[0].flatten(1).std(dim=1)
    map_HW = maps_BKHW[0, int(varying.argmax())]
    top = (map_HW.shape[0] - SHOWN) // 2
    cut_HW = map_HW[top : top + SHOWN, top : top + SHOWN].numpy()
    low, high = float(cut_HW.min()), float(cut_HW.max())
    grey_HW = np.rint(255 * (cut_HW - low) / max(high - low, 1e-12)).astype(np.uint8)
    side = SHOWN * ENLARGED
    return Image.fromarray(grey_HW).resize((side, side), Image.Resampling.NEAREST)


def _sheet(panels: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    gap = 8
    side = SHOWN * ENLARGED
    sheet = Image.new("RGB", (len(panels) * (side + gap) - gap, side + TITLE), "white")
    pen = ImageDraw.Draw(sheet)
    for at, (title, panel) in enumerate(panels):
        pen.text((at * (side + gap) + 2, 3), title, fill="black")
        sheet.paste(panel.convert("RGB"), (at * (side + gap), TITLE))
    return sheet
