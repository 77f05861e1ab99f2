"""Transposed convolution (up-convolution; Dumoulin and Visin 2016, arXiv:1603.07285).

Every input pixel stamps its value times the kernel onto the output, `stride` pixels apart; where
stamps overlap they add up. A kernel that the stride does not divide overlaps unevenly, and the map
shows a checkerboard.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from segkit.api import UsageError
from segkit_upsamplers.geometry import Size, SteppedUpsampler, check_at_least, check_scale, place

Padding = int | tuple[int, int] | None


class TransposedUpsampler(SteppedUpsampler):
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
        check_scale("transposed", scale)
        factor = scale if stride == "scale" else stride
        side = factor if kernel is None else kernel
        super().__init__(
            lambda source, target: TransposedStep(
                source, target, kernel=side, stride=factor, padding=padding, bias=bias
            ),
            in_channels=in_channels,
            out_channels=out_channels,
            count=_steps(scale, factor),
            factor=factor,
        )


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


def _steps(scale: int, stride: int) -> int:
    check_at_least("transposed", "stride", stride, 2)
    count, reached = 0, 1
    while reached < scale:
        count, reached = count + 1, reached * stride
    if reached != scale:
        raise UsageError(
            "SK-C007",
            f"transposed: the decoder asks for a scale of {scale}, which steps of {stride} miss.",
            "Use stride=2, of which every scale is made, or stride=scale for a single step.",
        )
    return count
