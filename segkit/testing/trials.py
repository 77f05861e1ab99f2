"""How a part of a network is put to the test: what it is built with, and an input for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segkit.errors import UsageError
from segkit.interfaces import DecoderTraits, EncoderTraits, Features
from segkit.testing.conduct import Use
from segkit.testing.subject import NotApplicable, Subject

BATCH = 2
MINIMAL_SIDE = 32
LONG_SIDE = 640


@dataclass(frozen=True)
class Trial:
    """A way to build the part anew, and what it is called with: tensors of BATCH items."""

    build: Callable[[], nn.Module]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Pyramid:
    """The feature maps of an imagined encoder: channels and strides, finest first."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def __str__(self) -> str:
        return f"strides {self.strides} with channels {self.channels}"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the usual image: multiples of the deepest stride, not square."""
        return 2 * self.strides[-1], 3 * self.strides[-1]

    def features(self, height: int, width: int, batch: int = BATCH) -> Features:
        """Random maps for an image of that size, and true pooling indices of each of them."""
        maps = tuple(
            torch.randn(batch, channels, height // stride, width // stride)
            for channels, stride in zip(self.channels, self.strides, strict=True)
        )
        indices = tuple(F.max_pool2d(each, 2, return_indices=True)[1] for each in maps[:-1])
        return Features(maps, indices)


FIVE_LEVELS_FROM_2 = Pyramid((4, 6, 8, 10, 12), (2, 4, 8, 16, 32))
FOUR_LEVELS_FROM_4 = Pyramid((6, 8, 10, 12), (4, 8, 16, 32))
FIVE_LEVELS_FROM_4 = Pyramid((4, 6, 8, 10, 12), (4, 8, 16, 32, 64))
FOUR_LEVELS_FROM_2 = Pyramid((4, 6, 8, 10), (2, 4, 8, 16))
FIVE_LEVELS_FROM_1 = Pyramid((4, 6, 8, 10, 12), (1, 2, 4, 8, 16))
PYRAMIDS = (
    *(FIVE_LEVELS_FROM_2, FOUR_LEVELS_FROM_4, FOUR_LEVELS_FROM_2),
    *(FIVE_LEVELS_FROM_1, FIVE_LEVELS_FROM_4),
)


class PlainUpsampler(nn.Module):
    """The kit's own upsampler: bilinear, then a 1x1 convolution."""

    needs_pool_indices = False

    def __init__(self, *, in_channels: int, out_channels: int, scale: int) -> None:
        super().__init__()
        self.channels = out_channels
        self.convolution = nn.Conv2d(in_channels, out_channels, 1)

    def forward(
        self, x_BCHW: Tensor, size: tuple[int, int], pool_indices: Tensor | None = None
    ) -> Tensor:
        return F.interpolate(self.convolution(x_BCHW), size=size, mode="bilinear")


def image_sizes(encoder: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Two (height, width), neither square, that the encoder's contract promises to take."""
    unit, lost = _unit(encoder)
    return (2 * unit + lost, 3 * unit + lost), (3 * unit + lost, unit + lost)


def odd_image_sizes(encoder: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Two more, at which the deepest map has an odd height and width: 72 and 88 for stride 8."""
    unit, lost = _unit(encoder)
    deepest = encoder.strides[-1]
    one, other = 2 * unit + deepest + lost, 2 * unit + 3 * deepest + lost
    return (one, other), (other, one)


def extreme_image_sizes(encoder: Any) -> tuple[tuple[int, int], ...]:
    """The smallest there is, and long ones: what a table of positions would not hold."""
    unit, lost = _unit(encoder)
    short, long = unit + lost, LONG_SIDE // unit * unit + lost
    return (short, short), (short, long), (long, short)


def _unit(encoder: Any) -> tuple[int, int]:
    """A multiple of the deepest stride, in pixels, and the pixels that the margins take away."""
    return max(encoder.strides[-1], MINIMAL_SIDE), 2 * EncoderTraits.of(encoder).margin


def build_decoder(
    subject: Subject, pyramid: Pyramid, make_upsampler: Callable[..., Any] = PlainUpsampler
) -> Any:
    """The decoder over a pyramid; raises NotApplicable where it refuses it with a reason."""
    try:
        decoder = subject.build(
            channels=pyramid.channels, strides=pyramid.strides, make_upsampler=make_upsampler
        )
    except UsageError as error:
        if error.code != "SK-C007":
            raise
        raise NotApplicable(f"refuses {pyramid}: {error.what}") from error
    if DecoderTraits.of(decoder).margin:
        raise NotApplicable("convolves without padding: only its own encoder gives fitting maps")
    return decoder


def trial_of(subject: Subject) -> Trial:
    """The usual trial of an encoder, a decoder or an upsampler."""
    return {"encoders": _encoder, "decoders": _decoder, "upsamplers": _upsampler}[subject.kind](
        subject
    )


@contextmanager
def module_use(subject: Subject) -> Iterator[Use]:
    """Encoders, decoders and upsamplers in use: a pass in evaluation."""
    trial = trial_of(subject)

    @torch.no_grad()
    def run(module: nn.Module) -> None:
        module(*trial.arguments)

    yield Use(lambda: trial.build().eval(), run)


def _encoder(subject: Subject) -> Trial:
    def build() -> nn.Module:
        encoder: nn.Module = subject.build(in_channels=3, weights="none")
        return encoder

    height, width = image_sizes(build())[0]
    return Trial(build, (torch.randn(BATCH, 3, height, width),))


def _decoder(subject: Subject) -> Trial:
    refusals = []
    for pyramid in PYRAMIDS:
        try:
            build_decoder(subject, pyramid)
        except NotApplicable as error:
            refusals.append(str(error))
            continue
        features = pyramid.features(*pyramid.size)
        return Trial(partial(build_decoder, subject, pyramid), (features,))
    raise NotApplicable(refusals[0])


def _upsampler(subject: Subject) -> Trial:
    return upsampler_trial(subject, in_channels=8, out_channels=4, scale=2, size=(8, 12))


def upsampler_trial(
    subject: Subject, *, in_channels: int, out_channels: int, scale: int, size: tuple[int, int]
) -> Trial:
    """An upsampler from size // scale to size; raises NotApplicable where it refuses the factor."""

    def build() -> nn.Module:
        try:
            upsampler: nn.Module = subject.build(
                in_channels=in_channels, out_channels=out_channels, scale=scale
            )
        except UsageError as error:
            if error.code != "SK-C007":
                raise
            raise NotApplicable(f"refuses scale {scale}: {error.what}") from error
        return upsampler

    height, width = size[0] // scale, size[1] // scale
    x_BCHW = torch.randn(BATCH, in_channels, height, width)
    indices = None
    if build().needs_pool_indices:
        finer = torch.randn(BATCH, out_channels, *size)
        indices = F.max_pool2d(finer, scale, return_indices=True)[1]
    return Trial(build, (x_BCHW, size, indices))


def map_tensors(change: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """The same nest of tuples with every tensor changed; numbers and None stay."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, tuple):
        items = [map_tensors(change, item) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)
    return tree


def tensors_in(tree: Any) -> list[Tensor]:
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_tensors(note, tree)
    return found
