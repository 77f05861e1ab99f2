"""The network: pad, encode, decode, classify, resize, crop; and the record of what it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segkit.interfaces import (
    Decoder,
    DecoderTraits,
    Encoder,
    EncoderTraits,
    Features,
    Normalization,
)
from segkit.model.labels import most_likely, most_likely_enlarged
from segkit.model.mirroring import MIRRORS, log_mean
from segkit.model.padding import mirror_pad
from segkit.model.streams import in_threads, shared_out, streams_of

# The labels of a network with one output.
ONE_OUTPUT = ("background", "foreground")
# Between these lies every temperature.
COLDEST, HOTTEST = 0.01, 100.0


@dataclass(frozen=True)
class Part:
    """One component of a model, so exactly that another machine can build it again.

    expression    name and every option's value, as `densenet121(depth=5, memory_efficient=false)`
    distribution  what was installed when it was built, and which version of it
    """

    expression: str
    distribution: str
    version: str


@dataclass(frozen=True)
class ModelRecord:
    """What a model is and where it comes from; saved beside its tensors.

    num_classes   outputs per pixel; a network with one has two labels: `label_count`
    weights   what the encoder started from: {"asked": "auto", "used": "none", "reason": "..."}
    classes   names of the labels in order, empty where unknown; palette: an RGB colour for each
    training  what the training that made it wants to be known: data, convention, scores
    normalization  {"mean": [...], "std": [...]} where the pixels are expected otherwise than the
                   encoder says, as a model trained elsewhere may
    separation  how it tells objects apart that touch, with every option; empty: not at all
    maps       maps that it gives for that beside the classes' logits
    background  the label of what is no object
    temperature  what logits are divided by before they become probabilities; labels do not change
    unpadded   images enter at their own size instead of filled up to a multiple of the deepest
               stride, and logits are enlarged to it: as networks from elsewhere may have it
    mirrors    of which mirrored images too it is asked, outside of training, for the mean of their
               probabilities: "horizontal" (2 answers), "both" (4); empty: of none
    """

    encoder: Part
    decoder: Part
    upsampler: Part
    num_classes: int
    in_channels: int
    weights: Mapping[str, str] = field(default_factory=dict)
    classes: Sequence[str] = ()
    palette: Sequence[Sequence[int]] = ()
    ignore_index: int | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    normalization: Mapping[str, Sequence[float]] | None = None
    separation: str = ""
    maps: int = 0
    background: int = 0
    temperature: float = 1.0
    unpadded: bool = False
    mirrors: str = ""

    @property
    def label_count(self) -> int:
        """Labels the model tells apart.

        Two for a network with one output: foreground (1) where that is above 0, a probability of
        one half, and background (0) elsewhere. One only where a single class is all there is.
        """
        return 1 if len(self.classes) == 1 else max(self.num_classes, 2)

    @property
    def label_names(self) -> tuple[str, ...]:
        """A name for each label: those of the classes, or made up where the model knows none."""
        if len(self.classes) == self.label_count:
            return tuple(self.classes)
        if self.num_classes == 1:
            return ONE_OUTPUT
        return tuple(str(number) for number in range(self.label_count))


class CoarseLogits(NamedTuple):
    """Logits at the decoder's stride, to be enlarged bilinearly and cut to the image's size; behind
    those of the classes the maps of a model that separates objects.

    size            (H, W) when enlarged; images end at or before it, at bottom and right
    align_corners   as torch.nn.functional.interpolate has it
    """

    logits_BKhw: Tensor
    size: tuple[int, int]
    align_corners: bool


class SegmentationModel(nn.Module):
    """Encoder, decoder and classifier as one module: any height and width in, the same out.

    Called with image_BCHW, floating point, normalised (`normalize` does it); returns logits_BKHW.
    """

    mean_C11: Tensor
    std_C11: Tensor
    # model.predict(image), for files, PIL images and arrays: set by segkit.inference.methods.
    predict: ClassVar[Callable[..., Any]]

    def __init__(self, encoder: Encoder, decoder: Decoder, record: ModelRecord) -> None:
        super().__init__()
        self.encoder, self.decoder, self.record = encoder, decoder, record
        decoder_traits = DecoderTraits.of(decoder)
        kernel = decoder_traits.head_kernel
        outputs = record.num_classes + record.maps
        self.head = nn.Conv2d(decoder.channels, outputs, kernel, padding=kernel // 2)
        self.align_corners = decoder_traits.align_corners
        self._expect(encoder.normalization)
        # Unpadded convolutions lose this many pixels at each side; mirroring gives them back.
        self.encoder_margin = EncoderTraits.of(encoder).margin
        self.margin = self.encoder_margin + decoder_traits.margin

    @property
    def networks(self) -> tuple[SegmentationModel, ...]:
        """The networks it asks: itself, or the members of an ensemble."""
        return (self,)

    @property
    def several(self) -> bool:
        """Whether its answer is the mean of several, which may contradict each other."""
        return bool(self.record.mirrors) and not self.training

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in label order; empty where none are recorded."""
        return tuple(self.record.classes)

    def expect_pixels(self, normalization: Normalization) -> None:
        """Has `normalize` do otherwise than the encoder says, and records it."""
        self._expect(normalization)
        mean, std = (list(values) for values in normalization)
        self.record = replace(self.record, normalization={"mean": mean, "std": std})

    def _expect(self, normalization: Normalization) -> None:
        mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in normalization)
        self.register_buffer("mean_C11", mean, persistent=False)
        self.register_buffer("std_C11", std, persistent=False)

    def normalize(self, image_BCHW: Tensor, full_scale: float = 255.0) -> Tensor:
        """Pixels of any type, 0 to full_scale, as the encoder expects them."""
        image_BCHW = image_BCHW.to(self.mean_C11.dtype) / full_scale
        return (image_BCHW - self.mean_C11) / self.std_C11

    def forward(self, image_BCHW: Tensor, enlarged: bool = True) -> Any:
        """logits_BKHW; CoarseLogits where not `enlarged`, for losses that enlarge them."""
        output = self._mirrored(image_BCHW) if self.several else self._upright(image_BCHW)
        return self.enlarged(output, image_BCHW.shape[-2:]) if enlarged else output

    def _upright(self, image_BCHW: Tensor) -> CoarseLogits:
        return CoarseLogits(*self.coarse_logits(image_BCHW), self.align_corners)

    def _mirrored(self, image_BCHW: Tensor) -> CoarseLogits:
        """The answers' mean, of the image's size; maps are those of the image as it is."""
        height, width = image_BCHW.shape[-2:]
        upright = self._upright(image_BCHW)
        mean_BKHW = log_mean(self.each_logits(image_BCHW, upright))
        if self.record.num_classes == 1:
            mean_BKHW = mean_BKHW[:, 1:] - mean_BKHW[:, :1]
        if self.record.maps:
            further = slice(self.record.num_classes, None)
            maps_BMHW = self._resized(upright, (height, width), further).to(mean_BKHW.dtype)
            mean_BKHW = torch.cat((mean_BKHW, maps_BMHW), dim=1)
        return CoarseLogits(mean_BKHW, (height, width), False)

    def each_logits(
        self, image_BCHW: Tensor, upright: CoarseLogits | None = None
    ) -> Iterator[Tensor]:
        """logits_BKHW of every answer, mirrored back.

        upright   what the network says of the image as it is, where that is known already
        """
        size, classes = image_BCHW.shape[-2:], slice(None, self.record.num_classes)
        for turn in MIRRORS[self.record.mirrors]:
            output = upright if upright is not None and not turn else None
            output = output or self._upright(image_BCHW.flip(turn) if turn else image_BCHW)
            logits_BKHW = self._resized(output, size, classes)
            yield logits_BKHW.flip(turn) if turn else logits_BKHW

    def enlarged(self, output: CoarseLogits, size: Sequence[int]) -> Tensor:
        """logits_BKHW of images of this size, (H, W)."""
        return self._enlarged(output, size, slice(None, self.record.num_classes))

    def maps(self, output: CoarseLogits, size: Sequence[int]) -> Tensor:
        """maps_BMHW of images of this size, (H, W): what the model separates objects by."""
        return self._enlarged(output, size, slice(self.record.num_classes, None))

    def _enlarged(self, output: CoarseLogits, size: Sequence[int], which: slice) -> Tensor:
        if self.several:
            return output.logits_BKhw[:, which, : size[0], : size[1]]
        return self._resized(output, size, which)

    def _resized(self, output: CoarseLogits, size: Sequence[int], which: slice) -> Tensor:
        wide_BXHW = output.logits_BKhw[:, which]
        if not wide_BXHW.shape[1]:
            # The maps of a model that separates nothing, which torch does not interpolate.
            return wide_BXHW.new_empty((len(wide_BXHW), 0, *size))
        if self.decoder.stride > 1:
            wide_BXHW = F.interpolate(
                wide_BXHW, output.size, mode="bilinear", align_corners=output.align_corners
            )
        return wide_BXHW[..., : size[0], : size[1]]

    def coarse_logits(self, image_BCHW: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Logits at the decoder's stride, and the size they are to be enlarged to.

        The size is the padded image's: what is beyond the image at bottom and right is to be cut.
        """
        padded_BCHW = self._pad(image_BCHW)
        height, width = (side - 2 * self.margin for side in padded_BCHW.shape[-2:])
        return self.head(self.decoder(self.features(padded_BCHW))), (height, width)

    def features(self, padded_BCHW: Tensor) -> Features:
        """The encoder's; a training whose encoder is frozen puts what it remembers in its place."""
        features: Features = self.encoder(padded_BCHW)
        return features

    @torch.no_grad()
    def labels(self, image_BCHW: Tensor) -> Tensor:
        """The class of every pixel, label_BHW; logits are not held where they are enlarged.

        On a CPU the images of a batch are computed side by side, each by a thread.
        """
        return _joined(in_threads(self._labels, self._shared_out(image_BCHW)))

    @torch.no_grad()
    def labelled(self, image_BCHW: Tensor) -> tuple[Tensor, CoarseLogits]:
        """`labels`, and the logits that they come from: one pass gives both."""
        found = in_threads(self._labelled, self._shared_out(image_BCHW))
        logits_BKhw = _joined([output.logits_BKhw for _, output in found])
        return _joined([label for label, _ in found]), found[0][1]._replace(logits_BKhw=logits_BKhw)

    def _shared_out(self, image_BCHW: Tensor) -> list[Tensor]:
        # Norms that are in training would count each part as a batch.
        return shared_out(image_BCHW, 1 if self.training else streams_of(image_BCHW.device))

    def _labels(self, image_BCHW: Tensor) -> Tensor:
        return self._labelled(image_BCHW)[0]

    def _labelled(self, image_BCHW: Tensor) -> tuple[Tensor, CoarseLogits]:
        height, width = image_BCHW.shape[-2:]
        output: CoarseLogits = self.forward(image_BCHW, enlarged=False)
        logits_BKhw = output.logits_BKhw[:, : self.record.num_classes]
        if self.decoder.stride == 1 or self.several:
            return most_likely(logits_BKhw[..., :height, :width]), output
        label_BHW = most_likely_enlarged(
            logits_BKhw,
            output.size,
            align_corners=self.align_corners,
            crop=(height, width),
        )
        return label_BHW, output

    def _pad(self, image_BCHW: Tensor) -> Tensor:
        """To a size the encoder takes: mirrored by the margin, filled at right and bottom."""
        if self.record.unpadded:
            return image_BCHW
        deepest = self.encoder.strides[-1]
        if self.margin:
            surplus = [
                (-(side + 2 * self.margin - 2 * self.encoder_margin)) % deepest
                for side in image_BCHW.shape[-2:]
            ]
            return mirror_pad(image_BCHW, self.margin, surplus)
        bottom, right = ((-side) % deepest for side in image_BCHW.shape[-2:])
        if not (bottom or right):
            return image_BCHW
        return F.pad(image_BCHW, (0, right, 0, bottom), mode="replicate")


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
