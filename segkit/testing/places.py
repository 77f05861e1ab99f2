"""Where a part of a network puts what it is given: measured by what single pixels change.

A pixel is disturbed, and the centre of mass of what that changes in the output is compared with the
place where the pixel lies. Kernels are made symmetric for that, so that random weights pull no
centre aside; what is left of chance is averaged over pixels, channels and builds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from segkit.testing.gradients import awakened

Place = tuple[int, int]
BUILDS = 4


def symmetric(module: nn.Module) -> nn.Module:
    """In evaluation, every kernel the mean of itself and its mirror images."""
    module = awakened(module).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 4:
                turned = [parameter, parameter.flip(2), parameter.flip(3), parameter.flip(2, 3)]
                parameter.copy_(torch.stack(turned).mean(dim=0))
    return module


def symmetric_map(batch: int, channels: int, height: int, width: int) -> Tensor:
    """A random map that equals its mirror images, repeated over the batch."""
    x_1CHW = torch.randn(1, channels, height, width)
    x_1CHW = x_1CHW + x_1CHW.flip(2)
    return (x_1CHW + x_1CHW.flip(3)).repeat(batch, 1, 1, 1)


@torch.no_grad()
def responses(
    answer: Callable[[Tensor], Tensor], x_1CHW: Tensor, places: Sequence[Place]
) -> Tensor:
    """centre_N2: row and column, 0 to 1 over the output, of what disturbing each place changes.

    A place that changes nothing gives NaN.
    """
    x_NCHW = x_1CHW.repeat(1 + len(places), 1, 1, 1)
    for number, (row, column) in enumerate(places, start=1):
        x_NCHW[number, :, row, column] += 0.5
    out_NCHW = answer(x_NCHW)
    change_NHW = (out_NCHW[1:] - out_NCHW[:1]).double().square().sum(dim=1)
    height, width = change_NHW.shape[1:]
    mass_N = change_NHW.sum(dim=(1, 2))
    row_H = (torch.arange(height) + 0.5).to(change_NHW) / height
    column_W = (torch.arange(width) + 0.5).to(change_NHW) / width
    return torch.stack(
        [change_NHW.sum(dim=2) @ row_H / mass_N, change_NHW.sum(dim=1) @ column_W / mass_N], dim=1
    )


def lies_at(places: Sequence[Place], height: int, width: int) -> Tensor:
    """place_N2: the same places as shares of height and width, at the pixels' centres."""
    scale_2 = torch.tensor([height, width], dtype=torch.float64)
    return (torch.tensor(places, dtype=torch.float64) + 0.5) / scale_2


def line_through(x_N: Tensor, y_N: Tensor) -> tuple[float, float]:
    """Slope of the least-squares line of y over x, and y minus x at the middle of the x."""
    centred_N = x_N - x_N.mean()
    slope = (centred_N @ (y_N - y_N.mean()) / (centred_N @ centred_N)).item()
    return slope, (y_N.mean() - x_N.mean()).item()
