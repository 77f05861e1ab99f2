"""SMP's decoders that climb back to the image's size step by step: Unet, Unet++, MAnet and Linknet.

Options are those of SMP's own classes, without the `decoder_` prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from segmentation_models_pytorch.decoders.linknet.decoder import LinknetDecoder
from segmentation_models_pytorch.decoders.manet.decoder import MAnetDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder

from segkit.api import MakeUpsampler, UsageError
from segkit_smp.bridge import Slots, SmpDecoder, every_octave, refuse

Interpolation = Literal["nearest", "nearest-exact", "bilinear", "bicubic", "area"]
Norm = Literal["batchnorm", "none"]
NORMS = {"batchnorm": "batchnorm", "none": "identity"}


def unet(
    *,
    channels: Sequence[int],
    strides: Sequence[int],
    make_upsampler: MakeUpsampler,
    widths: tuple[int, ...] | None = None,
    norm: Norm = "batchnorm",
    attention: Literal["none", "scse"] = "none",
    interpolation: Interpolation = "nearest",
    center: bool = False,
) -> SmpDecoder:
    """U-Net as SMP builds it: enlarge, concatenate the skip, convolve twice (arXiv:1505.04597).

    widths         channels after each step, deepest first; none halves from 256 down to 16
    norm           after each convolution
    attention      scse adds channel and spatial attention (arXiv:1803.02579)
    interpolation  how maps are enlarged
    center         two more convolutions on the deepest map, as SMP does for VGG
    """
    slots, widths = _steps("unet", strides, widths)
    _attention_fits("unet", attention, widths)
    decoder = UnetDecoder(
        encoder_channels=slots.channels(channels),
        decoder_channels=widths,
        n_blocks=len(widths),
        use_norm=NORMS[norm],
        attention_type=None if attention == "none" else attention,
        add_center_block=center,
        interpolation_mode=interpolation,
    )
    return SmpDecoder(decoder, slots, strides, channels=widths[-1], stride=1, head_kernel=3)


def unetplusplus(
    *,
    channels: Sequence[int],
    strides: Sequence[int],
    make_upsampler: MakeUpsampler,
    widths: tuple[int, ...] | None = None,
    norm: Norm = "batchnorm",
    attention: Literal["none", "scse"] = "none",
    interpolation: Interpolation = "nearest",
    center: bool = False,
) -> SmpDecoder:
    """U-Net++: every skip passes through a grid of blocks (Zhou et al. 2018, arXiv:1807.10165).

    widths         channels after each step, deepest first; none halves from 256 down to 16
    norm           after each convolution
    attention      scse adds channel and spatial attention (arXiv:1803.02579)
    interpolation  how maps are enlarged
    center         two more convolutions on the deepest map, as SMP does for VGG
    """
    slots, widths = _steps("unetplusplus", strides, widths)
    if None in slots.levels[2:]:
        needs = "a map of every stride from 4 to the deepest"
        raise refuse("unetplusplus", strides, needs, EVERY_OCTAVE)
    _attention_fits("unetplusplus", attention, widths)
    decoder = UnetPlusPlusDecoder(
        encoder_channels=slots.channels(channels),
        decoder_channels=widths,
        n_blocks=len(widths),
        use_norm=NORMS[norm],
        attention_type=None if attention == "none" else attention,
        center=center,
        interpolation_mode=interpolation,
    )
    return SmpDecoder(decoder, slots, strides, channels=widths[-1], stride=1, head_kernel=3)


def manet(
    *,
    channels: Sequence[int],
    strides: Sequence[int],
    make_upsampler: MakeUpsampler,
    widths: tuple[int, ...] | None = None,
    norm: Norm = "batchnorm",
    pab_channels: int = 64,
    interpolation: Interpolation = "nearest",
) -> SmpDecoder:
    """MA-Net: attention over the deepest map's pixels, and over channels.

    Fan et al. 2020, doi:10.1109/ACCESS.2020.3025372.

    Memory grows with the square of the deepest map's pixels: mind encoders that end at stride 8.

    widths         channels after each step, deepest first; none halves from 256 down to 16
    norm           after each convolution
    pab_channels   of the position attention
    interpolation  how maps are enlarged
    """
    slots, widths = _steps("manet", strides, widths)
    decoder = MAnetDecoder(
        encoder_channels=slots.channels(channels),
        decoder_channels=widths,
        n_blocks=len(widths),
        use_norm=NORMS[norm],
        pab_channels=pab_channels,
        interpolation_mode=interpolation,
    )
    return SmpDecoder(decoder, slots, strides, channels=widths[-1], stride=1, head_kernel=3)


def linknet(
    *,
    channels: Sequence[int],
    strides: Sequence[int],
    make_upsampler: MakeUpsampler,
    prefinal_channels: int = 32,
    norm: Norm = "batchnorm",
) -> SmpDecoder:
    """LinkNet: transposed convolutions, the skip added (Chaurasia et al. 2017, arXiv:1707.03718).

    prefinal_channels  of the last step
    norm               after each convolution
    """
    slots = every_octave(strides)
    steps = len(slots.strides) - 1
    if not steps:
        raise refuse("linknet", strides, "a map of stride 2 or more", ANY)
    # Each block narrows its input to a quarter.
    thin = [c for c in slots.channels(channels) if 0 < c < 4]
    if thin:
        raise UsageError(
            "SK-C007",
            f"smp/linknet needs maps of at least 4 channels, and the encoder has one of {thin[0]}.",
            "Choose a wider encoder, or smp/unet.",
        )
    decoder = LinknetDecoder(
        encoder_channels=slots.channels(channels),
        prefinal_channels=prefinal_channels,
        n_blocks=steps,
        use_norm=NORMS[norm],
    )
    return SmpDecoder(decoder, slots, strides, channels=prefinal_channels, stride=1)


ANY = "Every encoder with a map of stride 2 or more works."
EVERY_OCTAVE = (
    "Choose such an encoder, as timm/resnet18, or smp/unet; a plain transformer has them with "
    "pyramid=true, as timm/vit_base_patch16_224(pyramid=true)."
)


def _steps(
    decoder: str, strides: Sequence[int], widths: tuple[int, ...] | None
) -> tuple[Slots, tuple[int, ...]]:
    """The maps, a step each, and the channels after each step."""
    slots = every_octave(strides)
    steps = len(slots.strides) - 1
    if not steps:
        raise refuse(decoder, strides, "a map of stride 2 or more", ANY)
    if widths is None:
        return slots, tuple(min(256, 16 * 2**step) for step in reversed(range(steps)))
    if len(widths) != steps or min(widths) < 1:
        raise UsageError(
            "SK-C006",
            f"smp/{decoder}: widths is {list(widths)}, and this encoder, whose deepest stride is "
            f"{strides[-1]}, needs {steps} numbers of at least 1.",
            "Give one number for each doubling of the size, the deepest first.",
        )
    return slots, widths


def _attention_fits(decoder: str, attention: str, widths: tuple[int, ...]) -> None:
    if attention == "scse" and min(widths) < 16:
        raise UsageError(
            "SK-C006",
            f"smp/{decoder}: attention=scse divides channels by 16, and widths holds "
            f"{min(widths)}.",
            "Give widths of at least 16.",
        )
