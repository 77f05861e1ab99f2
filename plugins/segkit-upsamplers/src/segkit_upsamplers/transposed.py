"""Transposed convolution (up-convolution; Dumoulin and Visin 2016, arXiv:1603.07285).

Every input pixel stamps its value times the kernel onto the output, `stride` pixels apart; where
stamps overlap they add up. A kernel that the stride does not divide overlaps unevenly: the checkerboard.
"""

from __future__ import annotations

from typing import Literal

from segkit.api import UsageError
from torch import Tensor, nn

from segkit_upsamplers.geometry import Size, Steps, check_at_least, check_scale, place, steps_in

Padding = int | tuple[int, int] | None


class TransposedUpsampler(nn.Module):
    """Learned stamps, one per input pixel and `stride` pixels apart, added up where they overlap.

    kernel   side of the stamp; none: the stride's, so 2x2 as in the U-Net paper (Keras takes 3)
    stride   enlargement per step, larger scales being several steps; scale: a single step
    padding  rows and columns not computed at each side, one number or [rows, columns]; none: as
             many as leave stride times the input
    bias     whether a learned constant is added to each channel

    Whatever the kernel and the padding, the stamp of input pixel i lies centred over output pixels
    i * stride to (i + 1) * stride - 1 (an odd surplus row is at the far side, as in Keras); what
    reaches beyond the size asked for is cut off, and what is missing at an edge repeats the edge.
    """

    needs_pool_indices = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        scale: int,
        *,
        kernel: int | None = None,
        stride: int | Literal["scale"] = 2,
        padding: int | tuple[int, int] | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_scale("transposed", scale)
        factor = scale if stride == "scale" else stride
        check_at_least("transposed", "stride", factor, 2)
        self.channels = out_channels
        self.steps = Steps.of(
            lambda source, target: TransposedStep(
                source, target, kernel=kernel or factor, stride=factor, padding=padding, bias=bias
            ),
            in_channels=in_channels,
            out_channels=out_channels,
            count=steps_in("transposed", scale, factor),
            factor=factor,
        )

    def forward(self, x_BCHW: Tensor, size: Size, pool_indices: Tensor | None = None) -> Tensor:
        enlarged_BCHW: Tensor = self.steps(x_BCHW, size)
        return enlarged_BCHW


class TransposedStep(nn.Module):
    """A transposed convolution (`convolution`, the plain operation), fitted to the size asked for.

    Raises UsageError SK-C006 where the kernel is empty or the padding leaves nothing of one pixel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int,
        stride: int,
        padding: Padding = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_at_least("transposed", "kernel", kernel, 1)
        surplus = kernel - stride
        centred = surplus // 2 if surplus > 0 else -(-surplus // 2)
        if padding is None:
            padding = max(centred, 0)
        cut = (padding, padding) if isinstance(padding, int) else padding
        if min(cut) < 0 or 2 * max(cut) >= kernel:
            raise UsageError(
                "SK-C006",
                f"transposed: option 'padding' cannot be {padding} with a kernel of {kernel}.",
                f"It is between 0 and {(kernel - 1) // 2}, or one pixel would leave nothing.",
            )
        # A padding that cuts off less than the centred one leaves rows to skip; one that cuts off
        # more leaves rows to repeat.
        self.before = (centred - cut[0], centred - cut[1])
        self.convolution = nn.ConvTranspose2d(
            in_channels, out_channels, kernel, stride, padding=cut, bias=bias
        )

    def forward(self, x_BCHW: Tensor, size: Size) -> Tensor:
        return place(self.convolution(x_BCHW), size, before=self.before)
