"""SegNet's decoder (Badrinarayanan, Kendall, Cipolla 2015, arXiv:1511.00561)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segkit.api import Features, MakeUpsampler, Upsampler, UsageError
from segkit_unet.checkpointing import Checkpointing
from segkit_unet.convolution import Conv, ConvBlock, Norm, Style, check_positive, initialise
from segkit_unet.steps import refuse_missing_indices, steps_to


class SegnetDecoder(Checkpointing):
    """SegNet (Badrinarayanan, Kendall, Cipolla 2015, arXiv:1511.00561): no skips but the indices.

    Level by level, the map is unpooled where the encoder found its maxima and then convolved; what
    comes from the encoder is the indices alone. It wants an encoder that pools from stride 1 on
    (vgg16_bn is the paper's) and the upsampler max_unpool.

    convolutions    convolutions after each unpooling (the paper: as the encoder, 2 or 3)
    norm            batch (the paper), group or none
    conv            standard, separable or atrous (rate 2) convolutions
    any_upsampler   take upsamplers without indices too, on any encoder: the paper's comparison
                    with bilinear interpolation
    """

    def __init__(
        self,
        *,
        channels: Sequence[int],
        strides: Sequence[int],
        make_upsampler: MakeUpsampler,
        convolutions: int = 2,
        norm: Norm = "batch",
        conv: Conv = "standard",
        any_upsampler: bool = False,
    ) -> None:
        super().__init__()
        check_positive("segnet", convolutions=convolutions)
        style = Style(norm=norm, conv=conv)
        self.steps, self.levels = nn.ModuleList(), []
        reached, stride = channels[-1], strides[-1]
        for finer, level in steps_to(1, strides):
            unpooled = channels[0] if level is None else channels[level]
            # The next unpooling takes as many channels as the next finer map has.
            leaving = channels[level - 1] if level else channels[0]
            step = UnpoolingStep(
                mirrored(unpooled, leaving, style, convolutions),
                make_upsampler(in_channels=reached, out_channels=unpooled, scale=stride // finer),
                scale=stride // finer,
            )
            if not (any_upsampler or step.upsampler.needs_pool_indices):
                raise _without_indices()
            refuse_missing_indices(step.upsampler, step.scale, level)
            self.steps.append(step)
            self.levels.append(level)
            reached, stride = leaving, finer
        self.channels, self.stride = reached, stride

    def forward(self, features: Features) -> Tensor:
        x_BCHW, indices = features.maps[-1], features.pool_indices
        for step, level in zip(self.steps, self.levels, strict=True):
            index_BCHW = indices[level] if indices and level is not None else None
            x_BCHW = self.run(step, x_BCHW, index_BCHW)
        return x_BCHW


class UnpoolingStep(nn.Module):
    """Enlarges a map by `scale`, where the indices say, and convolves the result."""

    def __init__(self, block: nn.Module, upsampler: Upsampler, scale: int) -> None:
        super().__init__()
        initialise(block)
        self.block, self.upsampler, self.scale = block, upsampler, scale

    def forward(self, x_BCHW: Tensor, index_BCHW: Tensor | None) -> Tensor:
        height, width = (side * self.scale for side in x_BCHW.shape[-2:])
        larger_BCHW = self.upsampler(x_BCHW, size=(height, width), pool_indices=index_BCHW)
        result_BCHW: Tensor = self.block(larger_BCHW)
        return result_BCHW


def mirrored(in_channels: int, out_channels: int, style: Style, convolutions: int) -> nn.Sequential:
    """An encoder's block the other way round: only its last convolution changes the channels."""
    last = ConvBlock(in_channels, out_channels, style, convolutions=1)
    if convolutions == 1:
        return last
    return nn.Sequential(*ConvBlock(in_channels, in_channels, style, convolutions - 1), *last)


def _without_indices() -> UsageError:
    return UsageError(
        "SK-C007",
        "segnet puts values back where the encoder's pooling found them, and the upsampler does "
        "not use those places.",
        "Give it --upsampler max_unpool and an encoder that pools from stride 1 on, such as "
        "vgg16_bn or unet; or write segnet(any_upsampler=true).",
    )
