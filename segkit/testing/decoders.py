"""Checks of a decoder's contract, over imagined encoders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segkit.interfaces import DecoderTraits, Features
from segkit.testing.conduct import conduct_checks
from segkit.testing.gradients import INPUT_CHECKS
from segkit.testing.modules import MODULE_CHECKS, STAGE_CHECKS
from segkit.testing.places import BUILDS, lies_at, responses, symmetric, symmetric_map
from segkit.testing.subject import Breach, Check, NotApplicable, Subject, mend_of, require
from segkit.testing.trials import (
    BATCH,
    FIVE_LEVELS_FROM_1,
    FIVE_LEVELS_FROM_2,
    FIVE_LEVELS_FROM_4,
    FOUR_LEVELS_FROM_2,
    FOUR_LEVELS_FROM_4,
    PYRAMIDS,
    PlainUpsampler,
    Pyramid,
    build_decoder,
    module_use,
)

# Pixels of the output, of one and more of which a shifted map is off.
SHIFT = 0.6
# Pixels of the deepest map, even: what halves an odd map cannot treat both ends alike.
SIDES = (2, 4)
LARGER_SIDES = (8, 8)


def takes_some_encoder(subject: Subject) -> None:
    """At least one of the kit's five imagined encoders is accepted, and called with its Features
    the decoder returns a tensor.

    Mend: read features.maps, a tuple of tensors, finest first; assume neither five levels nor a
    first stride of 2, and refuse with UsageError("SK-C007", what, what would work) only what
    cannot work.
    """
    refusals = []
    for pyramid in PYRAMIDS:
        try:
            decoder = build_decoder(subject, pyramid)
        except NotApplicable as error:
            refusals.append(str(error))
            continue
        with torch.no_grad():
            out_BCHW = decoder.eval()(pyramid.features(*pyramid.size))
        for name in ("channels", "stride"):
            value = getattr(decoder, name, None)
            require(isinstance(value, int), f"self.{name} is {value!r}, not a whole number")
        kind = type(out_BCHW).__name__
        require(isinstance(out_BCHW, Tensor), f"it returns {kind}, not a tensor")
        return
    if "without padding" in refusals[-1]:
        raise NotApplicable(refusals[-1])
    require(False, "; ".join(refusals))


BASIC = takes_some_encoder


def fits_five_levels_from_stride_2(subject: Subject) -> None:
    """Over strides 2 to 32 the map has the declared shape, at two sizes that are not square.

    Mend: loop over the levels you are given (zip(channels, strides)), set self.stride to that of
    the map returned, and size each step by its skip's height and width.
    """
    _shapes_hold(subject, FIVE_LEVELS_FROM_2)


def fits_four_levels_from_stride_4(subject: Subject) -> None:
    """Over strides 4 to 32 the map has the declared shape, or they are refused with a reason.

    Mend: loop over the levels you are given (zip(channels, strides)), set self.stride to that of
    the map returned, and size each step by its skip's height and width.
    """
    _shapes_hold(subject, FOUR_LEVELS_FROM_4)


def fits_four_levels_from_stride_2(subject: Subject) -> None:
    """Over strides 2 to 16 the map has the declared shape, or they are refused with a reason.

    Mend: loop over the levels you are given (zip(channels, strides)), set self.stride to that of
    the map returned, and size each step by its skip's height and width.
    """
    _shapes_hold(subject, FOUR_LEVELS_FROM_2)


def fits_five_levels_from_stride_4(subject: Subject) -> None:
    """Over strides 4 to 64 the map has the declared shape, or they are refused with a reason.

    Mend: loop over the levels you are given (zip(channels, strides)), set self.stride to that of
    the map returned, and size each step by its skip's height and width.
    """
    _shapes_hold(subject, FIVE_LEVELS_FROM_4)


def fits_five_levels_from_stride_1(subject: Subject) -> None:
    """Over strides 1 to 16 the map has the declared shape, or they are refused with a reason.

    Mend: loop over the levels you are given (zip(channels, strides)), set self.stride to that of
    the map returned, and size each step by its skip's height and width.
    """
    _shapes_hold(subject, FIVE_LEVELS_FROM_1)


def takes_features_without_pool_indices(subject: Subject) -> None:
    """Where the upsampler needs no pooling indices, features without them serve as well.

    Mend: read features.pool_indices only where upsampler.needs_pool_indices.
    """
    decoder, pyramid = _over_any_pyramid(subject)
    with torch.no_grad():
        features = pyramid.features(*pyramid.size)._replace(pool_indices=None)
        out_BCHW = decoder.eval()(features)
    _require_shape(decoder, out_BCHW, pyramid)


def unpooling_gets_its_indices(subject: Subject) -> None:
    """An upsampler that needs pooling indices gets its step's, or is refused with a reason.

    Mend: hand features.pool_indices[level] to the upsampler that leads to level, with out_channels
    equal to channels[level]; or refuse in __init__ where an upsampler needs_pool_indices: raise
    UsageError("SK-C007", what, what would work).
    """
    pyramid = FIVE_LEVELS_FROM_1
    decoder = build_decoder(subject, pyramid, _Unpooling).eval()
    with torch.no_grad():
        out_BCHW = decoder(pyramid.features(*pyramid.size))
    _require_shape(decoder, out_BCHW, pyramid)


def says_what_it_does_with_upsampler_and_head(subject: Subject) -> None:
    """It calls make_upsampler and runs what that made, its own submodules, unless uses_upsampler is
    False; head_kernel is odd.

    Mend: keep the upsamplers in an nn.ModuleList and call them as upsampler(x, size, pool_indices);
    or set uses_upsampler = False, so that a user's choice of one is refused.
    """
    made: list[_Noticed] = []

    def make_upsampler(**arguments: int) -> _Noticed:
        made.append(_Noticed(**arguments))
        return made[-1]

    decoder, pyramid = _over_any_pyramid(subject, make_upsampler)
    traits = DecoderTraits.of(decoder)
    with torch.no_grad():
        decoder.eval()(pyramid.features(*pyramid.size))
    if traits.uses_upsampler:
        require(bool(made), "it never calls make_upsampler, and does not say uses_upsampler=False")
        idle = [each for each in made if not each.ran]
        require(not idle, f"of {len(made)} upsamplers that it makes, {len(idle)} never run")
        inside = {id(each) for each in decoder.modules()}
        foreign = [each for each in made if id(each) not in inside]
        require(not foreign, f"{len(foreign)} of its upsamplers are no submodules: never trained")
    else:
        require(not made, "it says uses_upsampler=False, and calls make_upsampler")
    kernel = traits.head_kernel
    require(isinstance(kernel, int) and kernel % 2 == 1, f"head_kernel is {kernel}, not odd")


def keeps_everything_in_its_place(subject: Subject) -> None:
    """What pixels of a map change in the output has its centre of mass where those pixels lie, for
    every map: pixels mirrored at the middle, taken together, have theirs in the middle.

    Mend: pad a convolution by half of its kernel on every side, and cut and pad alike on opposite
    sides: a skip that meets its map a pixel aside cannot be repaired by training.
    """
    pyramid = _over_any_pyramid(subject)[1]
    shift_L2 = _shifts(subject, pyramid, SIDES)
    # A decoder may treat ends unlike that pools a map of two pixels further, and chance averages
    # out over builds: only where there is a doubt, for it takes its time.
    if bool((shift_L2.abs() > SHIFT).any()):
        rounds = [_shifts(subject, pyramid, LARGER_SIDES) for _ in range(BUILDS)]
        shift_L2 = torch.stack(rounds).nanmean(dim=0)
    for level, (down, right) in enumerate(shift_L2.tolist()):
        require(
            not max(abs(down), abs(right)) > SHIFT,
            f"map {level} (stride {pyramid.strides[level]}) comes out {down:+.1f} pixels down and "
            f"{right:+.1f} pixels right of its place",
        )


CHECKS: tuple[Check, ...] = (
    takes_some_encoder,
    says_what_it_does_with_upsampler_and_head,
    fits_five_levels_from_stride_2,
    fits_four_levels_from_stride_4,
    fits_four_levels_from_stride_2,
    fits_five_levels_from_stride_4,
    fits_five_levels_from_stride_1,
    takes_features_without_pool_indices,
    unpooling_gets_its_indices,
    keeps_everything_in_its_place,
    *INPUT_CHECKS,
    *MODULE_CHECKS,
    *STAGE_CHECKS,
    *conduct_checks(module_use),
)


class _Noticed(PlainUpsampler):
    """Says whether it ran."""

    ran = False

    def forward(
        self, x_BCHW: Tensor, size: tuple[int, int], pool_indices: Tensor | None = None
    ) -> Tensor:
        self.ran = True
        return super().forward(x_BCHW, size, pool_indices)


class _Unpooling(PlainUpsampler):
    """Undoes 2x2 pooling where the indices say; a decoder that gives others breaks its contract."""

    needs_pool_indices = True

    def forward(
        self, x_BCHW: Tensor, size: tuple[int, int], pool_indices: Tensor | None = None
    ) -> Tensor:
        y_BCHW = self.convolution(x_BCHW)
        if pool_indices is None:
            raise Breach(f"an upsampler that needs pooling indices got none for size {size}")
        if pool_indices.shape != y_BCHW.shape:
            raise Breach(
                f"the pooling indices are {tuple(pool_indices.shape)}, "
                f"the map to be unpooled is {tuple(y_BCHW.shape)}"
            )
        return F.max_unpool2d(y_BCHW, pool_indices, [2, 2], output_size=size)


def _over_any_pyramid(
    subject: Subject, make_upsampler: Callable[..., Any] = PlainUpsampler
) -> tuple[Any, Pyramid]:
    """The decoder over the first imagined encoder that it accepts."""
    for pyramid in PYRAMIDS:
        try:
            return build_decoder(subject, pyramid, make_upsampler), pyramid
        except NotApplicable:
            continue
    raise NotApplicable("refuses every imagined encoder")


def _shifts(subject: Subject, pyramid: Pyramid, sides: tuple[int, int]) -> Tensor:
    """shift_L2: output pixels, down and right, between each map's pixels and what they change in
    the output; NaN for a map that has no part in it."""
    built = build_decoder(subject, pyramid)
    stride_out, decoder = built.stride, symmetric(built)
    size = sides[0] * pyramid.strides[-1], sides[1] * pyramid.strides[-1]
    maps = [
        symmetric_map(1, channels, size[0] // stride, size[1] // stride)
        for channels, stride in zip(pyramid.channels, pyramid.strides, strict=True)
    ]
    out_2 = torch.tensor(size, dtype=torch.float64) / stride_out
    shifts = []
    for level, map_1CHW in enumerate(maps):
        height, width = map_1CHW.shape[2:]
        row, column = height // 2 - 1, width // 2 - 1
        # The four in the middle: where everything is symmetric, so is what they change together.
        places = [(r, c) for r in (row, row + 1) for c in (column, column + 1)]

        def answer(x_NCHW: Tensor, level: int = level) -> Tensor:
            given = [each.expand(len(x_NCHW), -1, -1, -1) for each in maps]
            given[level] = x_NCHW
            out_NCHW: Tensor = decoder(Features(tuple(given)))
            return out_NCHW

        centre_N2 = responses(answer, map_1CHW, places)
        shifts.append((centre_N2 - lies_at(places, height, width)).mean(dim=0) * out_2)
    return torch.stack(shifts)


def _shapes_hold(subject: Subject, pyramid: Pyramid) -> None:
    decoder = build_decoder(subject, pyramid).eval()
    deepest = pyramid.strides[-1]
    for size in (pyramid.size, (3 * deepest, deepest)):
        with torch.no_grad():
            out_BCHW = decoder(pyramid.features(*size))
        _require_shape(decoder, out_BCHW, pyramid, size)


def _require_shape(
    decoder: Any, out_BCHW: Tensor, pyramid: Pyramid, size: tuple[int, int] | None = None
) -> None:
    height, width = size or pyramid.size
    require(isinstance(decoder, nn.Module), "it is no torch.nn.Module")
    due = (BATCH, decoder.channels, height // decoder.stride, width // decoder.stride)
    found = tuple(out_BCHW.shape)
    came = f"over {pyramid} a {height}x{width} image gives {found}, declared was {due}"
    require(found == due, came, mend_of(fits_five_levels_from_stride_2))
