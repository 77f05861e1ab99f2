"""Checks of an encoder's contract."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch

from segkit.errors import SegkitError
from segkit.interfaces import EncoderTraits, Features
from segkit.model.compose import checked_encoder
from segkit.testing.modules import MODULE_CHECKS, STAGE_CHECKS
from segkit.testing.subject import Check, NotApplicable, Subject, require
from segkit.testing.trials import BATCH, image_sizes

INPUT_CHANNELS = (1, 3, 4)


def declares_channels_and_strides(subject: Subject) -> None:
    """channels and strides are whole numbers, one per level; strides increasing powers of two."""
    try:
        encoder = checked_encoder(_build(subject), subject.component)
    except SegkitError as error:
        require(False, error.what)
    numbers = [*encoder.channels, *encoder.strides]
    require(
        all(isinstance(n, int) and n > 0 for n in numbers),
        f"channels {encoder.channels} and strides {encoder.strides} must be whole numbers",
    )


def maps_have_declared_shapes(subject: Subject) -> None:
    """At two sizes, none square, map i is (B, channels[i], H / strides[i], W / strides[i])."""
    encoder = _build(subject).eval()
    for height, width in image_sizes(encoder):
        with torch.no_grad():
            features = encoder(torch.randn(BATCH, 3, height, width))
        require(
            isinstance(features, Features), f"it returns {type(features).__name__}, not Features"
        )
        found = [tuple(each.shape) for each in features.maps]
        due = _declared_shapes(encoder, height, width)
        require(found == due, f"for {height}x{width} the maps are {found}, declared were {due}")


def pool_indices_are_as_declared(subject: Subject) -> None:
    """Pooling indices are there where provides_pool_indices says so, and name places."""
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
    """Lost pixels are whole numbers from 0 on, one per level, and never fewer at a deeper one."""
    encoder = _build(subject)
    margins = list(EncoderTraits.of(encoder).margins)
    if not any(margins):
        raise NotApplicable("loses no border")
    whole = all(isinstance(each, int) and each >= 0 for each in margins)
    require(
        whole and len(margins) == len(encoder.strides) and margins == sorted(margins),
        f"margins are {margins} for strides {list(encoder.strides)}",
    )


def published_weights_name_their_licence(subject: Subject) -> None:
    """What it declares as published has a repository, a licence and an address."""
    published = EncoderTraits.of(_build(subject)).published_weights
    if published is None:
        raise NotApplicable("has no published weights")
    for name in ("repository", "licence", "address"):
        text = getattr(published, name, None)
        require(isinstance(text, str) and bool(text), f"published_weights.{name} is {text!r}")


def takes_any_number_of_input_channels(subject: Subject) -> None:
    """Images of 1, 3 and 4 channels work, with maps of the same shapes."""
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
    """mean and std have one number for all channels or one for each, and no std is zero or less."""
    for in_channels in INPUT_CHANNELS:
        mean, std = _build(subject, in_channels).normalization
        require(
            len(mean) == len(std) and len(mean) in (1, in_channels),
            f"with {in_channels} channels there are {len(mean)} means and {len(std)} stds",
        )
        require(min(std) > 0, f"a std is {min(std)}")


def missing_weights_file_is_refused(subject: Subject) -> None:
    """A weights file that does not exist is an error of segkit's own, not a random start."""
    try:
        subject.build(in_channels=3, weights="no/such/file.safetensors")
    except SegkitError as error:
        require(error.code != "SK-P003", f"the error is none of segkit's own: {error.what}")
    else:
        require(False, "it was built from a weights file that does not exist")


CHECKS: tuple[Check, ...] = (
    declares_channels_and_strides,
    maps_have_declared_shapes,
    pool_indices_are_as_declared,
    margins_are_one_per_level,
    published_weights_name_their_licence,
    takes_any_number_of_input_channels,
    normalization_fits_the_channels,
    missing_weights_file_is_refused,
    *MODULE_CHECKS,
    *STAGE_CHECKS,
)


def _build(subject: Subject, in_channels: int = 3) -> Any:
    return subject.build(in_channels=in_channels, weights="none")


def _declared_shapes(encoder: Any, height: int, width: int) -> list[tuple[int, int, int, int]]:
    margins = EncoderTraits.of(encoder).margins or [0] * len(encoder.strides)
    return [
        (BATCH, channels, (height - 2 * margin) // stride, (width - 2 * margin) // stride)
        for channels, stride, margin in zip(encoder.channels, encoder.strides, margins, strict=True)
    ]
