"""Checks of a decoder's contract, over imagined encoders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segkit.interfaces import DecoderTraits
from segkit.testing.modules import MODULE_CHECKS, STAGE_CHECKS
from segkit.testing.subject import Breach, Check, NotApplicable, Subject, require
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
)


def takes_some_encoder(subject: Subject) -> None:
    """At least one of the kit's five imagined encoders is accepted."""
    refusals = []
    for pyramid in PYRAMIDS:
        try:
            build_decoder(subject, pyramid)
        except NotApplicable as error:
            refusals.append(str(error))
        else:
            return
    if "without padding" in refusals[-1]:
        raise NotApplicable(refusals[-1])
    require(False, "; ".join(refusals))


def fits_five_levels_from_stride_2(subject: Subject) -> None:
    """Over strides 2 to 32 the map has the declared shape, at two sizes that are not square."""
    _shapes_hold(subject, FIVE_LEVELS_FROM_2)


def fits_four_levels_from_stride_4(subject: Subject) -> None:
    """Over strides 4 to 32 the map has the declared shape, or they are refused with a reason."""
    _shapes_hold(subject, FOUR_LEVELS_FROM_4)


def fits_four_levels_from_stride_2(subject: Subject) -> None:
    """Over strides 2 to 16 the map has the declared shape, or they are refused with a reason."""
    _shapes_hold(subject, FOUR_LEVELS_FROM_2)


def fits_five_levels_from_stride_4(subject: Subject) -> None:
    """Over strides 4 to 64 the map has the declared shape, or they are refused with a reason."""
    _shapes_hold(subject, FIVE_LEVELS_FROM_4)


def fits_five_levels_from_stride_1(subject: Subject) -> None:
    """Over strides 1 to 16 the map has the declared shape, or they are refused with a reason."""
    _shapes_hold(subject, FIVE_LEVELS_FROM_1)


def takes_features_without_pool_indices(subject: Subject) -> None:
    """Where the upsampler needs no pooling indices, features without them serve as well."""
    decoder, pyramid = _over_any_pyramid(subject)
    with torch.no_grad():
        features = pyramid.features(*pyramid.size)._replace(pool_indices=None)
        out_BCHW = decoder.eval()(features)
    _require_shape(decoder, out_BCHW, pyramid)


def unpooling_gets_its_indices(subject: Subject) -> None:
    """An upsampler that needs pooling indices gets its step's, or is refused with a reason."""
    pyramid = FIVE_LEVELS_FROM_1
    decoder = build_decoder(subject, pyramid, _Unpooling).eval()
    with torch.no_grad():
        out_BCHW = decoder(pyramid.features(*pyramid.size))
    _require_shape(decoder, out_BCHW, pyramid)


def says_what_it_does_with_upsampler_and_head(subject: Subject) -> None:
    """It calls make_upsampler unless uses_upsampler is False; head_kernel is odd."""
    made: list[PlainUpsampler] = []

    def make_upsampler(**arguments: int) -> PlainUpsampler:
        made.append(PlainUpsampler(**arguments))
        return made[-1]

    traits = DecoderTraits.of(_over_any_pyramid(subject, make_upsampler)[0])
    if traits.uses_upsampler:
        require(bool(made), "it never calls make_upsampler, and does not say uses_upsampler=False")
    else:
        require(not made, "it says uses_upsampler=False, and calls make_upsampler")
    kernel = traits.head_kernel
    require(isinstance(kernel, int) and kernel % 2 == 1, f"head_kernel is {kernel}, not odd")


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
    *MODULE_CHECKS,
    *STAGE_CHECKS,
)


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
    require(hasattr(decoder, "channels"), "it has no attribute 'channels'")
    require(hasattr(decoder, "stride"), "it has no attribute 'stride'")
    due = (BATCH, decoder.channels, height // decoder.stride, width // decoder.stride)
    found = tuple(out_BCHW.shape)
    require(
        found == due, f"over {pyramid} a {height}x{width} image gives {found}, declared was {due}"
    )
