"""Checks of an encoder's contract."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from segkit.errors import SegkitError
from segkit.interfaces import EncoderTraits, Features
from segkit.model.compose import checked_encoder
from segkit.testing.conduct import conduct_checks
from segkit.testing.encoder_weights import WEIGHTS_CHECKS
from segkit.testing.gradients import TRIES, awakened, projected_gradients
from segkit.testing.modules import MODULE_CHECKS, STAGE_CHECKS
from segkit.testing.subject import Check, NotApplicable, Subject, require
from segkit.testing.trials import (
    BATCH,
    extreme_image_sizes,
    image_sizes,
    module_use,
    odd_image_sizes,
)

INPUT_CHANNELS = (1, 3, 4)


def declares_channels_and_strides(subject: Subject) -> None:
    """channels and strides are whole numbers, one per level; strides increasing powers of two.

    Mend: in __init__ set self.channels and self.strides, tuples with one number per map, finest
    first, such as (16, 32, 64) and (4, 8, 16).
    """
    try:
        encoder = checked_encoder(_build(subject), subject.component)
    except SegkitError as error:
        require(False, error.what)
    numbers = [*encoder.channels, *encoder.strides]
    require(
        all(isinstance(n, int) and n > 0 for n in numbers),
        f"channels {encoder.channels} and strides {encoder.strides} must be whole numbers",
    )


def returns_features(subject: Subject) -> None:
    """Called with an image it returns Features, whose maps are a tuple of one tensor per level.

    Mend: return Features(tuple(maps)), finest first; Features comes from segkit.api.
    """
    encoder = _build(subject).eval()
    with torch.no_grad():
        features = encoder(torch.randn(BATCH, 3, *image_sizes(encoder)[0]))
    require(isinstance(features, Features), f"it returns {type(features).__name__}, not Features")
    kind = type(features.maps).__name__
    require(isinstance(features.maps, tuple), f"the maps of its Features are a {kind}, no tuple")
    levels, found = len(encoder.strides), len(features.maps)
    require(found == levels, f"it returns {found} maps and declares {levels} strides")
    whole = all(isinstance(each, Tensor) for each in features.maps)
    require(whole, f"its maps are {[type(each).__name__ for each in features.maps]}, not tensors")


BASIC = returns_features


def maps_have_declared_shapes(subject: Subject) -> None:
    """At two sizes, none square, map i is (B, channels[i], H / strides[i], W / strides[i]).

    Mend: return the maps finest first; a 3x3 convolution that halves has
    stride=2 and padding=1; correct self.channels or self.strides where the maps are as meant.
    """
    encoder = _build(subject).eval()
    _shapes_hold(encoder, image_sizes(encoder))


def odd_maps_have_declared_shapes(subject: Subject) -> None:
    """Where the deepest map has an odd height and width, 9 and 11 pixels, maps have the declared
    shapes too.

    Mend: H and W are multiples of strides[-1] and of nothing more: pad inside where windows or
    groups of pixels need it, and cut off again.
    """
    encoder = _build(subject).eval()
    _shapes_hold(encoder, odd_image_sizes(encoder))


def small_and_long_images_are_taken(subject: Subject) -> None:
    """At 32 x 32 pixels, and with one side of 640, maps have the declared shapes too: no size is
    assumed.

    Mend: resize a table of positions to the map at hand (torch.nn.functional.interpolate) instead
    of slicing it, and refuse no size.
    """
    encoder = _build(subject).eval()
    _shapes_hold(encoder, extreme_image_sizes(encoder))


def every_map_depends_on_the_image(subject: Subject) -> None:
    """Every channel of the image has a part in every map, with a gradient, for 1, 3 and 4 channels.

    Mend: build the first convolution with in_channels and leave no channel of image_BCHW out;
    put no detach() and no torch.no_grad() between the levels.
    """
    for in_channels in INPUT_CHANNELS:
        silent: set[tuple[int, int]] | None = None
        for _ in range(TRIES):
            found = _silent(awakened(_build(subject, in_channels)).eval(), in_channels)
            silent = found if silent is None else silent & found
            if not silent:
                break
        for level, channel in sorted(silent or ()):
            require(
                False,
                f"map {level} gives channel {channel} of {in_channels} input channels no gradient",
            )


def pool_indices_are_as_declared(subject: Subject) -> None:
    """Pooling indices are there where provides_pool_indices says so, and name places.

    Mend: pool with torch.nn.functional.max_pool2d(x, 2, return_indices=True), give its indices
    of every level as Features(maps, pool_indices), and set provides_pool_indices = True.
    """
    encoder = _build(subject).eval()
    height, width = image_sizes(encoder)[0]
    with torch.no_grad():
        features = encoder(torch.randn(BATCH, 3, height, width))
    if not EncoderTraits.of(encoder).provides_pool_indices:
        require(
            features.pool_indices is None,
            "it returns pool_indices but does not say that it provides them",
        )
        return
    require(features.pool_indices is not None, "provides_pool_indices is True, but there are none")
    shapes = [tuple(each.shape) for each in features.pool_indices]
    levels = _declared_shapes(encoder, height, width)
    due = [(*finer[:2], *coarser[2:]) for finer, coarser in pairwise(levels)]
    require(shapes == due, f"the pooling indices have shapes {shapes}, due were {due}")
    for indices, finer in zip(features.pool_indices, levels, strict=False):
        require(indices.dtype == torch.int64, f"pooling indices are {indices.dtype}, not int64")
        inside = int(indices.min()) >= 0 and int(indices.max()) < finer[2] * finer[3]
        require(inside, "pooling indices point outside the finer map")


def margins_are_one_per_level(subject: Subject) -> None:
    """Lost pixels are whole numbers from 0 on, one per level, and never fewer at a deeper one.

    Mend: set self.margins to the pixels of the image lost at each side of each map.
    """
    encoder = _build(subject)
    margins = list(EncoderTraits.of(encoder).margins)
    if not any(margins):
        raise NotApplicable("loses no border")
    whole = all(isinstance(each, int) and each >= 0 for each in margins)
    require(
        whole and len(margins) == len(encoder.strides) and margins == sorted(margins),
        f"margins are {margins} for strides {list(encoder.strides)}",
    )


def takes_any_number_of_input_channels(subject: Subject) -> None:
    """Images of 1, 3 and 4 channels work, with maps of the same shapes.

    Mend: build the first convolution with in_channels, and write no 3.
    """
    for in_channels in INPUT_CHANNELS:
        encoder = _build(subject, in_channels).eval()
        height, width = image_sizes(encoder)[0]
        with torch.no_grad():
            features = encoder(torch.randn(BATCH, in_channels, height, width))
        found = [tuple(each.shape) for each in features.maps]
        require(
            found == _declared_shapes(encoder, height, width),
            f"with {in_channels} channels the maps are {found}",
        )


def normalization_fits_the_channels(subject: Subject) -> None:
    """mean and std have one number for all channels or one for each, and no std is zero or less.

    Mend: Normalization(mean, std) with in_channels numbers each;
    Normalization.for_channels makes them of three published ones.
    """
    for in_channels in INPUT_CHANNELS:
        mean, std = _build(subject, in_channels).normalization
        require(
            len(mean) == len(std) and len(mean) in (1, in_channels),
            f"with {in_channels} channels there are {len(mean)} means and {len(std)} stds",
        )
        require(min(std) > 0, f"a std is {min(std)}")


CHECKS: tuple[Check, ...] = (
    declares_channels_and_strides,
    returns_features,
    maps_have_declared_shapes,
    odd_maps_have_declared_shapes,
    small_and_long_images_are_taken,
    every_map_depends_on_the_image,
    pool_indices_are_as_declared,
    margins_are_one_per_level,
    takes_any_number_of_input_channels,
    normalization_fits_the_channels,
    *WEIGHTS_CHECKS,
    *MODULE_CHECKS,
    *STAGE_CHECKS,
    *conduct_checks(module_use),
)


def _build(subject: Subject, in_channels: int = 3) -> Any:
    return subject.build(in_channels=in_channels, weights="none")


def _silent(encoder: Any, in_channels: int) -> set[tuple[int, int]]:
    """(level, input channel) where the map of that level has no gradient to that channel."""
    image_BCHW = torch.randn(BATCH, in_channels, *image_sizes(encoder)[0], requires_grad=True)
    silent = set()
    for level, each in enumerate(encoder(image_BCHW).maps):
        (gradient_BCHW,) = projected_gradients([each], [image_BCHW])
        for channel in range(in_channels):
            if gradient_BCHW is None or not gradient_BCHW[:, channel].any():
                silent.add((level, channel))
    return silent


def _shapes_hold(encoder: Any, sizes: Sequence[tuple[int, int]]) -> None:
    for height, width in sizes:
        with torch.no_grad():
            features = encoder(torch.randn(BATCH, 3, height, width))
        found = [tuple(each.shape) for each in features.maps]
        due = _declared_shapes(encoder, height, width)
        require(found == due, f"for {height}x{width} the maps are {found}, declared were {due}")


def _declared_shapes(encoder: Any, height: int, width: int) -> list[tuple[int, int, int, int]]:
    margins = EncoderTraits.of(encoder).margins or [0] * len(encoder.strides)
    return [
        (BATCH, channels, (height - 2 * margin) // stride, (width - 2 * margin) // stride)
        for channels, stride, margin in zip(encoder.channels, encoder.strides, margins, strict=True)
    ]
