"""From the coarsest map up: which strides a decoder reaches, and what it cannot do there."""

from __future__ import annotations

from collections.abc import Sequence

from segkit.api import Upsampler, UsageError
from segkit_unet.convolution import Padding


def steps_to(output_stride: int, strides: Sequence[int]) -> list[tuple[int, int | None]]:
    """The strides a decoder reaches one after another, each with the level of its skip, or None.

    Raises UsageError SK-C007 where the encoder's coarsest map is finer than output_stride.
    """
    if strides[-1] < output_stride:
        raise UsageError(
            "SK-C007",
            f"the decoder is to end at stride {output_stride}, and the encoder's coarsest map has "
            f"stride {strides[-1]}.",
            f"Give the decoder output_stride={strides[-1]} or less, or the encoder more levels.",
        )
    steps: list[tuple[int, int | None]] = [
        (stride, level)
        for level, stride in reversed(list(enumerate(strides[:-1])))
        if stride >= output_stride
    ]
    finest = steps[-1][0] if steps else strides[-1]
    while finest > output_stride:
        finest //= 2
        steps.append((finest, None))
    return steps


def refuse_missing_indices(
    upsampler: Upsampler, scale: int, level: int | None, *, padding: Padding = "same"
) -> None:
    """Raises UsageError SK-C007 where an unpooling upsampler would lack the indices of its step."""
    if not upsampler.needs_pool_indices:
        return
    if padding == "valid":
        raise UsageError(
            "SK-C007",
            "the decoder's maps lose their border (padding=valid) and no longer fit the indices of "
            "the encoder's pooling, which the upsampler needs.",
            "Give encoder and decoder padding=same, or choose an upsampler such as transposed.",
        )
    if level is None or scale != 2:
        place = "beyond the encoder's finest map" if level is None else f"of factor {scale}"
        raise UsageError(
            "SK-C007",
            f"the upsampler needs the encoder's pooling indices at every step, and there are none "
            f"for the step {place}.",
            "Choose an encoder that pools from stride 1 on, such as unet or vgg16_bn, or an "
            "upsampler such as bilinear.",
        )


def refuse_unpooling(decoder: str, upsampler: Upsampler) -> None:
    """Raises UsageError SK-C007: the decoder's maps are not those that the encoder pooled."""
    if upsampler.needs_pool_indices:
        raise UsageError(
            "SK-C007",
            f"{decoder} enlarges maps that the encoder did not pool, and the upsampler needs the "
            "indices of their pooling.",
            "Choose the decoder segnet or unet, or an upsampler such as bilinear.",
        )
