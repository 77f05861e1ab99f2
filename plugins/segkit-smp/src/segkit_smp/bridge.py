"""Gives SMP's decoders the list of maps they expect, from whatever levels an encoder has.

SMP counts on the image itself first, then a map per stride 2, 4, 8 and so on. Where an encoder has
no map of a stride, an empty one of zero channels stands in, as SMP does for its own transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segmentation_models_pytorch.base.initialization import initialize_decoder
from torch import Tensor, nn

from segkit.api import Features, UsageError


@dataclass(frozen=True)
class Slots:
    """SMP's list of maps: the stride of each, and the encoder's level there, or None if empty."""

    strides: tuple[int, ...]
    levels: tuple[int | None, ...]

    def channels(self, encoder_channels: Sequence[int]) -> list[int]:
        return [0 if level is None else encoder_channels[level] for level in self.levels]

    def maps(self, maps: Sequence[Tensor], first_stride: int) -> list[Tensor]:
        finest_BCHW = maps[0]
        batch = finest_BCHW.shape[0]
        height, width = (side * first_stride for side in finest_BCHW.shape[-2:])
        return [
            finest_BCHW.new_zeros(batch, 0, height // stride, width // stride)
            if level is None
            else maps[level]
            for stride, level in zip(self.strides, self.levels, strict=True)
        ]


def every_octave(strides: Sequence[int]) -> Slots:
    """Strides 1, 2, 4 ... to the deepest; that of stride 1 stays empty, since SMP ignores it."""
    wanted = [2**i for i in range(strides[-1].bit_length())]
    level_of = {stride: level for level, stride in enumerate(strides) if stride > 1}
    return Slots(tuple(wanted), tuple(level_of.get(stride) for stride in wanted))


def from_stride(least: int, strides: Sequence[int]) -> Slots:
    """Two empty maps of strides 1 and 2, then every level from the stride `least` on."""
    used = [level for level, stride in enumerate(strides) if stride >= least]
    return Slots((1, 2, *(strides[level] for level in used)), (None, None, *used))


class SmpDecoder(nn.Module):
    """One of SMP's decoders behind segkit's contract.

    decoder        SMP's module, with SMP's key names
    slots          which maps it is given
    strides        of the encoder
    align_corners  how the model enlarges the logits

    The head and the resizing of its logits are SMP's too, so that weights trained there fit.
    """

    uses_upsampler = False

    def __init__(
        self,
        decoder: nn.Module,
        slots: Slots,
        strides: Sequence[int],
        *,
        channels: int,
        stride: int,
        head_kernel: int = 1,
        align_corners: bool = True,
        initialize: bool = True,
    ) -> None:
        super().__init__()
        replace_batch_norm(decoder)
        if initialize:
            initialize_decoder(decoder)
        self.decoder, self.slots, self.first_stride = decoder, slots, strides[0]
        self.channels, self.stride = channels, stride
        self.head_kernel, self.align_corners = head_kernel, align_corners

    def forward(self, features: Features) -> Tensor:
        maps = self.slots.maps(features.maps, self.first_stride)
        decoded_BCHW: Tensor = self.decoder(maps)
        return decoded_BCHW


class SteadyBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that also trains on one value a channel.

    One image whose map is 1x1 (a pooled map, or a small image's deepest) has no variance, and
    PyTorch refuses it. Here the running statistics serve for that step, and stay as they are.
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        batch, _, height, width = x_BCHW.shape
        if self.training and batch * height * width == 1:
            return nn.functional.batch_norm(
                x_BCHW, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(x_BCHW)


def replace_batch_norm(module: nn.Module) -> None:
    """Puts SteadyBatchNorm2d in the place of every fresh BatchNorm2d."""
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            steady = SteadyBatchNorm2d(child.num_features, eps=child.eps, momentum=child.momentum)
            setattr(module, name, steady)
        else:
            replace_batch_norm(child)


def refuse(decoder: str, strides: Sequence[int], needs: str, works: str) -> UsageError:
    """SK-C007: the decoder, what it needs, what the encoder has, and what would work."""
    return UsageError(
        "SK-C007",
        f"smp/{decoder} needs {needs}, and the encoder's maps have strides "
        f"{', '.join(map(str, strides))}.",
        works,
    )
