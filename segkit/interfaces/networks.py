"""The contracts of a network's parts: encoders, decoders, upsamplers, and what they hand on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from segkit.interfaces.traits import said_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    class UpsamplerModule(nn.Module):
        """For type checkers: an Upsampler that is a module too."""

        channels: int
        needs_pool_indices: bool

        def __call__(
            self, x_BCHW: Tensor, size: tuple[int, int], pool_indices: Tensor | None = None
        ) -> Tensor: ...


class Features(NamedTuple):
    """What an encoder returns.

    maps          level i has shape (B, channels[i], H / strides[i], W / strides[i]), finest first
    pool_indices  for unpooling: item i has the flat indices of the 2x2 maxima that led from level
                  i to level i + 1, int64 (B, channels[i], H / strides[i + 1], W / strides[i + 1]),
                  as torch.nn.functional.max_pool2d returns them; None where an encoder does not
                  pool by maximum at every level
    """

    maps: tuple[Tensor, ...]
    pool_indices: tuple[Tensor, ...] | None = None


class Normalization(NamedTuple):
    """(pixel / full_scale - mean) / std, a value per channel; full_scale is 255 for 8 bits."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def for_channels(self, channels: int) -> Normalization:
        """These statistics for another number of channels: averaged for one, else in turn."""
        mean, std = self
        if channels == len(mean):
            return self
        if channels == 1:
            return Normalization((sum(mean) / len(mean),), (sum(std) / len(std),))
        return Normalization(
            tuple(mean[i % len(mean)] for i in range(channels)),
            tuple(std[i % len(std)] for i in range(channels)),
        )


@runtime_checkable
class Encoder(Protocol):
    """Turns an image into feature maps, finest first.

    channels       channels of each map
    strides        input pixels per map pixel, increasing powers of two
    normalization  what the pixels are expected to look like

    Further attributes it may have: EncoderTraits. A further method: Checkpointable.

    Built with in_channels (any number from 1) and weights: "none", "imagenet" or the path of a
    safetensors file; raises WeightsUnavailable where they cannot be had.
    Called with image_BCHW, floating point, normalised; H and W are multiples of strides[-1] (the
    model pads, but for some imported ones), for an unpadded encoder once 2 * margins[-1] is taken
    off. Must not modify its input. Returns Features.
    """

    @property
    def channels(self) -> Sequence[int]: ...

    @property
    def strides(self) -> Sequence[int]: ...

    @property
    def normalization(self) -> Normalization: ...

    def __call__(self, image_BCHW: Tensor, /) -> Features: ...


@dataclass(frozen=True)
class EncoderTraits:
    """What an encoder says about itself, in attributes of these names; each may be missing or None.

    provides_pool_indices  whether it fills Features.pool_indices, which unpooling needs
    margins                of an unpadded encoder: input pixels lost at each side of map i, which
                           has (H - 2 * margins[i]) / strides[i] rows; empty: none are lost
    published_weights      the PublishedWeights behind weights="imagenet", whose licence lists show
                           (load_encoder_weights sets it)
    """

    provides_pool_indices: bool = False
    margins: Sequence[int] = ()
    published_weights: Any = None

    @classmethod
    def of(cls, encoder: object) -> EncoderTraits:
        """Those of an encoder, with the defaults for what it does not say: the one place to ask."""
        return cls(**said_of(encoder, cls))

    @property
    def margin(self) -> int:
        """Input pixels lost at each side of the deepest map."""
        return self.margins[-1] if self.margins else 0


@dataclass(frozen=True)
class DecoderTraits:
    """What a decoder says about itself, in attributes of these names; each may be missing or None.

    margin          of an unpadded decoder: input pixels lost at each side, beyond the encoder's
    head_kernel     side of the classifier's convolution, odd; networks of other libraries have 3
    align_corners   whether the logits are enlarged corner to corner, as a network of another
                    library was trained, and not as if pixels were areas
    uses_upsampler  False where it never calls make_upsampler: an upsampler chosen by name is then
                    refused, since it would have no effect
    """

    margin: int = 0
    head_kernel: int = 1
    align_corners: bool = False
    uses_upsampler: bool = True

    @classmethod
    def of(cls, decoder: object) -> DecoderTraits:
        """Those of a decoder, with the defaults for what it does not say: the one place to ask."""
        return cls(**said_of(decoder, cls))


@runtime_checkable
class Checkpointable(Protocol):
    """An encoder or decoder that can keep less for the gradient and compute it again."""

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Has every stage keep its input alone; segkit.api.recomputed does that for one stage."""


class MakeUpsampler(Protocol):
    """Builds one upsampler of the kind the user chose; `scale` is the factor, a power of two.

    What it returns is an Upsampler, and a module that a ModuleList takes.
    """

    def __call__(self, *, in_channels: int, out_channels: int, scale: int) -> UpsamplerModule: ...


@runtime_checkable
class Decoder(Protocol):
    """Turns feature maps into one map that the head classifies pixel by pixel.

    channels  channels of the map returned
    stride    input pixels per pixel of the map returned (the model resizes the logits from there)

    Further attributes it may have: DecoderTraits. A further method: Checkpointable.

    Built with the encoder's channels and strides (assume neither five levels nor a first stride of
    2) and make_upsampler. Returns (B, channels, H / stride, W / stride). A decoder that cannot use
    these strides, or needs something they lack, raises UsageError SK-C007 with the reason and what
    would work.
    """

    @property
    def channels(self) -> int: ...

    @property
    def stride(self) -> int: ...

    def __call__(self, features: Features, /) -> Tensor: ...


@runtime_checkable
class Upsampler(Protocol):
    """Enlarges a map to exactly the size asked for, odd sizes included.

    channels            channels of the map returned, equal to out_channels
    needs_pool_indices  True where it cannot work without the encoder's pooling indices

    Called with x_BCHW, size=(h, w) and, where it needs them, the step's pool_indices, which have
    out_channels channels and x's height and width. Returns (B, channels, h, w).
    """

    @property
    def channels(self) -> int: ...

    @property
    def needs_pool_indices(self) -> bool: ...

    def __call__(
        self, x_BCHW: Tensor, size: tuple[int, int], pool_indices: Tensor | None = None
    ) -> Tensor: ...
