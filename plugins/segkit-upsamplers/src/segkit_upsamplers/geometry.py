"""What the upsamplers share: scales, steps of one factor, and fitting a map to a size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from segkit.api import UsageError

Size = tuple[int, int]


def check_scale(name: str, scale: int) -> None:
    """Raises UsageError SK-C007 unless the scale is 2, 4, 8, ..."""
    if scale < 2 or scale & (scale - 1):
        raise UsageError(
            "SK-C007",
            f"the upsampler '{name}' was asked to enlarge {scale} times.",
            "The scale is a power of two from 2 on: choose a decoder that asks for one.",
        )


def steps_of_two(name: str, scale: int) -> int:
    """How many doublings make up the scale; raises UsageError SK-C007 where none do."""
    check_scale(name, scale)
    return scale.bit_length() - 1


def check_at_least(name: str, option: str, value: int, least: int) -> None:
    """Raises UsageError SK-C006 where an option is below its least value."""
    if value < least:
        raise UsageError(
            "SK-C006",
            f"{name}: option '{option}' cannot be {value}.",
            f"It is at least {least}.",
        )


def same_convolution(in_channels: int, out_channels: int, kernel: int) -> nn.Conv2d:
    """A convolution that keeps height and width; `kernel` is odd."""
    return nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)


def check_odd(name: str, option: str, value: int) -> None:
    """Raises UsageError SK-C006 unless the value is 1, 3, 5, ..."""
    if value < 1 or value % 2 == 0:
        raise UsageError(
            "SK-C006",
            f"{name}: option '{option}' cannot be {value}.",
            "It is an odd number, such as 3, so that the kernel has a centre.",
        )


def is_channels_last(x_BCHW: Tensor) -> bool:
    """Whether a map lies in memory pixel by pixel, and not as well channel by channel."""
    return x_BCHW.is_contiguous(memory_format=torch.channels_last) and not x_BCHW.is_contiguous()


def laid_out_as(x_BCHW: Tensor, other_BCHW: Tensor) -> Tensor:
    """The map, channels-last in memory where the other is: a convolution would bring it there."""
    if not is_channels_last(other_BCHW):
        return x_BCHW
    return x_BCHW.contiguous(memory_format=torch.channels_last)


def place(x_BCHW: Tensor, size: Size, *, before: Size = (0, 0)) -> Tensor:
    """The window of `size` that starts at `before`; what lies beyond an edge repeats it.

    before   rows and columns left out at the top and the left; negative: that many are added

    Slices and copies only, so that the gradient is deterministic on every device.
    """
    for axis, (start, length) in enumerate(zip(before, size, strict=True), start=2):
        x_BCHW = _place_along(x_BCHW, axis, start, length)
    return x_BCHW


def _place_along(x_BCHW: Tensor, axis: int, start: int, length: int) -> Tensor:
    have = x_BCHW.shape[axis]
    if start == 0 and length == have:
        return x_BCHW
    if start <= 0 and start + length >= have:
        # Nothing is left out. Apart, since torch cannot trace minima of sizes it does not know.
        kept, before, after = x_BCHW, -start, start + length - have
    else:
        # At least one row is kept, for its edge to be repeated.
        first = min(max(start, 0), have - 1)
        kept = x_BCHW.narrow(axis, first, max(min(start + length, have) - first, 1))
        before = min(max(-start, 0), length - 1)
        after = length - before - kept.shape[axis]
    parts = [_edge(kept, axis, 0, before), kept, _edge(kept, axis, -1, after)]
    return torch.cat([part for part in parts if part is not None], dim=axis)


def _edge(x_BCHW: Tensor, axis: int, end: int, count: int) -> Tensor | None:
    if not count:
        return None
    shape = list(x_BCHW.shape)
    shape[axis] = count
    return x_BCHW.narrow(axis, end, 1).expand(shape)


class SteppedUpsampler(nn.Module):
    """Reaches a large scale in steps of one factor; the last step goes to the size asked for.

    make_step   builds the module for (in_channels, out_channels), called with (x_BCHW, size); the
                first step changes the channels, the others keep them
    """

    needs_pool_indices = False

    def __init__(
        self,
        make_step: Callable[[int, int], nn.Module],
        *,
        in_channels: int,
        out_channels: int,
        count: int,
        factor: int = 2,
    ) -> None:
        super().__init__()
        sources = [in_channels] + [out_channels] * (count - 1)
        self.steps = nn.ModuleList([make_step(source, out_channels) for source in sources])
        self.channels, self.factor = out_channels, factor

    def forward(self, x_BCHW: Tensor, size: Size, pool_indices: Tensor | None = None) -> Tensor:
        for step in self.steps[:-1]:
            height, width = x_BCHW.shape[-2:]
            x_BCHW = step(x_BCHW, (height * self.factor, width * self.factor))
        enlarged_BCHW: Tensor = self.steps[-1](x_BCHW, size)
        return enlarged_BCHW
