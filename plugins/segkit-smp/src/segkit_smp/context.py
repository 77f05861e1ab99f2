"""SMP's decoders that gather context first: FPN, PSPNet, DeepLab, PAN, UPerNet, Segformer and DPT.

Options are those of SMP's own classes, without the `decoder_` prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from segmentation_models_pytorch.decoders.deeplabv3.decoder import (
    DeepLabV3Decoder,
    DeepLabV3PlusDecoder,
)
from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPDecoder
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder

from segkit.api import MakeUpsampler, UsageError
from segkit_smp.attention import PyramidAttentionDecoder
from segkit_smp.bridge import Slots, SmpDecoder, every_octave, from_stride, refuse
from segkit_smp.symmetric import NORMS, Interpolation, Norm
from segkit_smp.transformer import DensePredictionDecoder

DILATE = (
    "Dilate the encoder where it can be, as timm/resnet18(output_stride=16) does, or keep fewer "
    "levels, as densenet121(depth=4) does."
)
FOUR_LEVELS = (
    "Choose an encoder with such maps, as timm/resnet18; a plain transformer has them with "
    "pyramid=true, as timm/vit_base_patch16_224(pyramid=true)."
)


def fpn(
    *,
    channels: Sequence[int],
    strides: Sequence[int],
    make_upsampler: MakeUpsampler,
    pyramid_channels: int = 256,
    segmentation_channels: int = 128,
    merge: Literal["add", "cat"] = "add",
    dropout: float = 0.2,
    interpolation: Interpolation = "nearest",
) -> SmpDecoder:
    """Panoptic FPN: the four deepest maps, added top down, then merged (arXiv:1901.02446).

    pyramid_channels       of the top-down path
    segmentation_channels  of each branch before merging, a multiple of 32
    merge                  add the branches or concatenate them
    dropout                share of the merged channels left out in training
    interpolation          how the top-down path enlarges
    """
    levels = list(range(len(strides)))[-4:]
    used = [strides[level] for level in levels]
    if len(used) < 4 or any(2 * fine != coarse for fine, coarse in pairwise(used)):
        needs = "four maps, each of twice the stride of the one before"
        raise refuse("fpn", strides, needs, FOUR_LEVELS)
    if segmentation_channels % 32:
        raise UsageError(
            "SK-C006",
            f"smp/fpn: segmentation_channels is {segmentation_channels}.",
            "Give a multiple of 32: its normalisation has 32 groups.",
        )
    slots = Slots((1, *used), (None, *levels))
    decoder = FPNDecoder(
        encoder_channels=slots.channels(channels),
        encoder_depth=4,
        pyramid_channels=pyramid_channels,
        segmentation_channels=segmentation_channels,
        dropout=dropout,
        merge_policy=merge,
        interpolation_mode=interpolation,
    )
    return SmpDecoder(decoder, slots, strides, channels=decoder.out_channels, stride=used[0])


def pspnet(
    *,
    channels: Sequence[int],
    strides: Sequence[int],
    make_upsampler: MakeUpsampler,
    width: int = 512,
    norm: Norm = "batchnorm",
    dropout: float = 0.2,
) -> SmpDecoder:
    """PSPNet: the deepest map with its means over 1, 4, 9 and 36 parts (arXiv:1612.01105).

    SMP itself keeps three levels of the encoder, and the paper dilates it to stride 8: fine detail
    needs one or the other, as timm/resnet50(depth=3) or timm/resnet50(output_stride=8).

    width    channels of the result
    norm     after each convolution
    dropout  share of the result's channels left out in training
    """
    if channels[-1] % 4:
        raise UsageError(
            "SK-C007",
            f"smp/pspnet splits the deepest map's channels into four, and the encoder has "
            f"{channels[-1]}.",
            "Choose an encoder, or a depth, whose deepest map has a multiple of 4 channels.",
        )
    decoder = PSPDecoder(
        encoder_channels=[channels[-1]], use_norm=NORMS[norm], out_channels=width, dropout=dropout
    )
    slots, stride = _deepest(strides), strides[-1]
    return SmpDecoder(decoder, slots, strides, channels=width, stride=stride, head_kernel=3)


def deeplabv3(
    *,
    channels: Sequence[int],
    strides: Sequence[int],
    make_upsampler: MakeUpsampler,
    width: int = 256,
    atrous_rates: tuple[int, int, int] = (12, 24, 36),
    separable: bool = False,
    dropout: float = 0.5,
    align_corners: bool = True,
) -> SmpDecoder:
    """DeepLabV3: atrous convolutions of several rates side by side (arXiv:1706.05587).

    width          channels of the result
    atrous_rates   dilations of the three branches
    separable      depthwise and pointwise convolutions in the branches
    dropout        share of the branches' sum left out in training
    align_corners  enlarge the logits corner to corner, as SMP does; torchvision does not
    """
    if strides[-1] > 16:
        raise refuse("deeplabv3", strides, "a deepest map of stride 16 or less", DILATE)
    decoder = DeepLabV3Decoder(channels[-1], width, atrous_rates, separable, dropout)
    slots, stride = _deepest(strides), strides[-1]
    return SmpDecoder(
        decoder,
        slots,
        strides,
        channels=width,
        stride=stride,
        align_corners=align_corners,
        initialize=False,
    )


def deeplabv3plus(
    *,
    channels: Sequence[int],
    strides: Sequence[int],
    make_upsampler: MakeUpsampler,
    width: int = 256,
    atrous_rates: tuple[int, int, int] = (12, 24, 36),
    separable: bool = True,
    dropout: float = 0.5,
) -> SmpDecoder:
    """DeepLabV3+: DeepLabV3, then the map of stride 4 for detail (arXiv:1802.02611).

    width         channels of the result
    atrous_rates  dilations of the three branches
    separable     depthwise and pointwise convolutions in the branches
    dropout       share of the branches' sum left out in training
    """
    if 4 not in strides or strides[-1] not in (8, 16):
        needs = "a map of stride 4 and a deepest map of stride 8 or 16"
        raise refuse("deeplabv3plus", strides, needs, DILATE)
    fine, deep = strides.index(4), len(strides) - 1
    slots = Slots((1, 2, 4, strides[-1]), (None, None, fine, deep))
    decoder = DeepLabV3PlusDecoder(
        encoder_channels=slots.channels(channels),
        encoder_depth=5,
        out_channels=width,
        atrous_rates=atrous_rates,
        output_stride=strides[-1],
        aspp_separable=separable,
        aspp_dropout=dropout,
    )
    return SmpDecoder(decoder, slots, strides, channels=width, stride=4, initialize=False)


def pan(
    *,
    channels: Sequence[int],
    strides: Sequence[int],
    make_upsampler: MakeUpsampler,
    width: int = 32,
    interpolation: Interpolation = "bilinear",
) -> SmpDecoder:
    """PAN: pooled attention on the deepest map guides the finer ones (arXiv:1805.10180).

    width          channels of every map
    interpolation  how maps are enlarged
    """
    slots = every_octave(strides)
    if None in slots.levels[2:] or strides[-1] not in (8, 16, 32):
        needs = "a map of every stride from 4 to a deepest of 8, 16 or 32"
        raise refuse("pan", strides, needs, FOUR_LEVELS)
    decoder = PyramidAttentionDecoder(
        encoder_channels=slots.channels(channels),
        encoder_depth=len(slots.strides) - 1,
        decoder_channels=width,
        interpolation_mode=interpolation,
    )
    return SmpDecoder(decoder, slots, strides, channels=width, stride=4, head_kernel=3)


def upernet(
    *,
    channels: Sequence[int],
    strides: Sequence[int],
    make_upsampler: MakeUpsampler,
    width: int = 256,
    norm: Norm = "batchnorm",
) -> SmpDecoder:
    """UPerNet: pyramid pooling on top of a feature pyramid (Xiao et al. 2018, arXiv:1807.10221).

    width  channels of every map
    norm   after each convolution
    """
    slots = _from_four("upernet", strides)
    decoder = UPerNetDecoder(
        encoder_channels=slots.channels(channels),
        encoder_depth=len(slots.strides) + 1,
        decoder_channels=width,
        use_norm=NORMS[norm],
    )
    return SmpDecoder(decoder, slots, strides, channels=width, stride=slots.strides[2])


def segformer(
    *,
    channels: Sequence[int],
    strides: Sequence[int],
    make_upsampler: MakeUpsampler,
    width: int = 256,
) -> SmpDecoder:
    """SegFormer's head: every map projected, resized to stride 4 and fused (arXiv:2105.15203).

    width  channels of every map
    """
    if strides[-1] < 4:
        raise refuse("segformer", strides, "a map of stride 4 or more", COARSER)
    slots = from_stride(2, strides)
    decoder = SegformerDecoder(
        encoder_channels=slots.channels(channels),
        encoder_depth=len(slots.strides) + 1,
        segmentation_channels=width,
    )
    return SmpDecoder(decoder, slots, strides, channels=width, stride=4)


def dpt(
    *,
    channels: Sequence[int],
    strides: Sequence[int],
    make_upsampler: MakeUpsampler,
    widths: tuple[int, ...] | None = None,
    fusion_channels: int = 256,
) -> SmpDecoder:
    """DPT: maps reassembled at strides 4, 8, 16 ... and fused, deepest first (arXiv:2103.13413).

    A plain transformer's class token is not used (SMP's readout=ignore): encoders give maps only.

    widths           channels of each reassembled map, finest first; none doubles from 256 to 1024
    fusion_channels  of the fusion
    """
    slots = _from_four("dpt", strides)
    used, levels = slots.strides[2:], len(slots.strides) - 2
    widths = widths or tuple(min(1024, 256 * 2**level) for level in range(levels))
    if len(widths) != levels or min(widths) < 1:
        raise UsageError(
            "SK-C006",
            f"smp/dpt: widths is {list(widths)}, and this encoder has {levels} maps of stride 4 "
            f"or more.",
            "Give one number of at least 1 for each, the finest first.",
        )
    decoder = DensePredictionDecoder(
        encoder_out_channels=slots.channels(channels)[2:],
        encoder_output_strides=used,
        intermediate_channels=widths,
        fusion_channels=fusion_channels,
    )
    return SmpDecoder(decoder, slots, strides, channels=fusion_channels, stride=2)


COARSER = "Choose an encoder with more levels, as timm/resnet18."


def _deepest(strides: Sequence[int]) -> Slots:
    return Slots((strides[-1],), (len(strides) - 1,))


def _from_four(decoder: str, strides: Sequence[int]) -> Slots:
    if strides[-1] < 4:
        raise refuse(decoder, strides, "a map of stride 4 or more", COARSER)
    return from_stride(4, strides)
