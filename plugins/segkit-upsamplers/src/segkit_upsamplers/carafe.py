"""CARAFE: each output pixel is a weighted mean of a neighbourhood, by weights the map predicts.

Wang et al. 2019, arXiv:1905.02188. Changed here: beyond its edges the map repeats them instead of
being zero, so a constant map stays constant up to the border.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segkit_upsamplers.geometry import (
    Size,
    SteppedUpsampler,
    check_at_least,
    check_odd,
    laid_out_as,
    place,
    steps_of_two,
)


class Carafe(SteppedUpsampler):
    """Content-aware reassembly; scale 4 is two such steps.

    kernel               side of the neighbourhood that is averaged, odd
    encoder_kernel       side of the convolution that predicts the weights, odd
    compressed_channels  channels that it sees, at most (the paper's 64)

    A 1x1 convolution before the reassembly maps to out_channels where they differ; the weights sum
    to 1, so it could as well come after, at four times the cost. Sizes other than scale times the
    input are cut at the bottom and the right, or repeat the edge there.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        scale: int,
        *,
        kernel: int = 5,
        encoder_kernel: int = 3,
        compressed_channels: int = 64,
    ) -> None:
        check_odd("carafe", "kernel", kernel)
        check_odd("carafe", "encoder_kernel", encoder_kernel)
        check_at_least("carafe", "compressed_channels", compressed_channels, 1)
        super().__init__(
            lambda source, target: CarafeStep(
                source, target, kernel, encoder_kernel, min(compressed_channels, source)
            ),
            in_channels=in_channels,
            out_channels=out_channels,
            count=steps_of_two("carafe", scale),
        )


class CarafeStep(nn.Module):
    """One doubling: predict the weights, then reassemble."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, encoder_kernel: int, compressed: int
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.compress = nn.Conv2d(in_channels, compressed, 1)
        self.encode = nn.Conv2d(
            compressed, 4 * kernel**2, encoder_kernel, padding=encoder_kernel // 2
        )
        self.project: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.project = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x_BCHW: Tensor, size: Size) -> Tensor:
        logits_BT4HW = self.encode(self.compress(x_BCHW)).unflatten(1, (self.kernel**2, 4))
        weight_BT4HW = logits_BT4HW.softmax(dim=1)
        doubled_BCHW = reassemble(self.project(x_BCHW), weight_BT4HW, self.kernel)
        return place(laid_out_as(doubled_BCHW, x_BCHW), size)


def reassemble(x_BCHW: Tensor, weight_BT4HW: Tensor, kernel: int) -> Tensor:
    """Twice the height and width: each pixel of a 2x2 block as its own mean of kernel^2 pixels.

    weight_BT4HW   for every tap T of the neighbourhood, row by row, and every pixel of the block

    One tap at a time: an unfolded map, kernel^2 times the input, would be kept for the gradient.
    """
    batch, channels, height, width = x_BCHW.shape
    reach = kernel // 2
    around_BCHW = place(x_BCHW, (height + 2 * reach, width + 2 * reach), before=(-reach, -reach))
    # Under autocast the softmax is float32 and the map is not: one conversion here, not one a tap.
    exact = torch.promote_types(x_BCHW.dtype, weight_BT4HW.dtype)
    around_BCHW, weight_BT4HW = around_BCHW.to(exact), weight_BT4HW.to(exact)
    if torch.compiler.is_exporting():
        block_BC4HW = _row_by_row(around_BCHW, weight_BT4HW, kernel)
        return F.pixel_shuffle(block_BC4HW.flatten(1, 2), 2).to(x_BCHW.dtype)
    block_BC4HW = weight_BT4HW.new_zeros(batch, channels, 4, height, width)
    for tap in range(kernel**2):
        row, column = divmod(tap, kernel)
        shifted_BCHW = around_BCHW[..., row : row + height, column : column + width]
        block_BC4HW = torch.addcmul(
            block_BC4HW, shifted_BCHW[:, :, None], weight_BT4HW[:, tap, None]
        )
    return F.pixel_shuffle(block_BC4HW.flatten(1, 2), 2).to(x_BCHW.dtype)


def _row_by_row(around_BCHW: Tensor, weight_BT4HW: Tensor, kernel: int) -> Tensor:
    """The same means with a row of taps at a time, for graphs: two slices of unknown size a tap
    take torch minutes to trace. The taps are gathered by convolutions with a single 1, exactly.
    """
    channels = around_BCHW.shape[1]
    single_T1kk = torch.eye(kernel**2, dtype=around_BCHW.dtype, device=around_BCHW.device).reshape(
        -1, 1, kernel, kernel
    )
    rows = []
    for single_k1kk, weight_Bk4HW in zip(
        single_T1kk.split(kernel), weight_BT4HW.split(kernel, dim=1), strict=True
    ):
        taps_BcHW = F.conv2d(around_BCHW, single_k1kk.repeat(channels, 1, 1, 1), groups=channels)
        taps_BCkHW = taps_BcHW.unflatten(1, (channels, kernel))
        rows.append(torch.einsum("bckhw,bkqhw->bcqhw", taps_BCkHW, weight_Bk4HW))
    return torch.stack(rows).sum(dim=0)
