"""Several networks that answer as one: the mean of their probabilities.

Lakshminarayanan et al. 2017 (arXiv:1612.01474): networks trained from different seeds, or on
different folds of the data, are together surer where they agree and say so where they do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from segkit.errors import UsageError
from segkit.interfaces import Normalization
from segkit.model.labels import most_likely
from segkit.model.mirroring import log_mean, two_at_least
from segkit.model.network import CoarseLogits, ModelRecord, Part, SegmentationModel
from segkit.version import __version__

# What a training says of its pixels, which all members have to have learnt from alike.
SCALES = ("intensity", "full_scale", "reading")


class Ensemble(SegmentationModel):
    """Networks as one, which gives the logarithms of their mean probabilities for logits.

    members   networks, each in the record that it was trained with

    Called with image_BCHW from 0 to 1, as `normalize` gives it: each member normalises by itself.
    Their own temperatures count for nothing; the ensemble may have one.
    """

    def __init__(self, members: Sequence[SegmentationModel], record: ModelRecord) -> None:
        nn.Module.__init__(self)
        self.members, self.record = nn.ModuleList(members), record
        channels = record.in_channels
        self._expect(Normalization((0.0,) * channels, (1.0,) * channels))

    @property
    def networks(self) -> tuple[SegmentationModel, ...]:
        return tuple(each for each in self.members if isinstance(each, SegmentationModel))

    @property
    def several(self) -> bool:
        return True

    def each_logits(
        self, image_BCHW: Tensor, upright: CoarseLogits | None = None
    ) -> Iterator[Tensor]:
        """logits_BKHW of every member."""
        return (logits_BKHW for logits_BKHW, _ in self.each(image_BCHW))

    def of(self, members: Sequence[SegmentationModel]) -> Ensemble:
        """The same of other forms of its members, on their device."""
        return Ensemble(members, self.record).to(self.mean_C11.device).train(self.training)

    def each(self, image_BCHW: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """(logits_BKHW, maps_BMHW) of every member, in float32, of two classes at least."""
        size = image_BCHW.shape[-2:]
        for member in self.networks:
            output = member(member.normalize(image_BCHW, 1.0), enlarged=False)
            yield (
                two_at_least(member.enlarged(output, size).float()),
                member.maps(output, size).float(),
            )

    def forward(self, image_BCHW: Tensor, enlarged: bool = True) -> Any:
        """logits_BKHW; with the members' mean maps behind them where not `enlarged`."""
        maps: list[Tensor] = []
        mean_BKHW = log_mean(self._noting(maps, image_BCHW))
        if enlarged:
            return mean_BKHW
        height, width = image_BCHW.shape[-2:]
        both_BXHW = torch.cat((mean_BKHW, maps[0] / len(self.members)), dim=1)
        return CoarseLogits(both_BXHW, (height, width), False)

    def _noting(self, sum_of_maps: list[Tensor], image_BCHW: Tensor) -> Iterator[Tensor]:
        """The members' logits; of their maps nothing but the sum is held."""
        for logits_BKHW, maps_BMHW in self.each(image_BCHW):
            sum_of_maps[:] = [sum_of_maps[0] + maps_BMHW if sum_of_maps else maps_BMHW]
            yield logits_BKHW

    def _enlarged(self, output: CoarseLogits, size: Sequence[int], which: slice) -> Tensor:
        return output.logits_BKhw[:, which, : size[0], : size[1]]

    @torch.no_grad()
    def labels(self, image_BCHW: Tensor) -> Tensor:
        """The class of every pixel, label_BHW."""
        return most_likely(self(image_BCHW))

    @torch.no_grad()
    def labelled(self, image_BCHW: Tensor) -> tuple[Tensor, CoarseLogits]:
        """`labels`, and what they come from."""
        output: CoarseLogits = self(image_BCHW, enlarged=False)
        return most_likely(self.enlarged(output, image_BCHW.shape[-2:])), output


def ensemble(
    models: Sequence[SegmentationModel],
    names: Sequence[str],
    temperature: float = 1.0,
    training: Mapping[str, Any] | None = None,
) -> Ensemble:
    """The models as one; those that are ensembles themselves give their members.

    names      of the models, for messages
    training   what is known of the ensemble; None: how its members read pixels
    Raises UsageError SK-C007 where classes, channels, pixel values or separations differ.
    """
    _refuse_unlike(models, names)
    members = [member for model in models for member in model.networks]
    first = members[0].record
    scales = {name: first.training[name] for name in SCALES if name in first.training}
    record = replace(
        first,
        encoder=_together([each.record.encoder for each in members]),
        decoder=_together([each.record.decoder for each in members]),
        upsampler=_together([each.record.upsampler for each in members]),
        num_classes=max(first.num_classes, 2),
        weights={},
        training=scales if training is None else {**training, **scales},
        normalization=None,
        temperature=temperature,
        mirrors="",
    )
    return Ensemble(members, record).to(members[0].mean_C11.device).eval()


def _together(parts: Sequence[Part]) -> Part:
    """What is said of members' parts; an ensemble is never built from it."""
    named = dict.fromkeys(part.expression for part in parts)
    return Part(" | ".join(named), "segkit-core", __version__)


def _refuse_unlike(models: Sequence[SegmentationModel], names: Sequence[str]) -> None:
    first = _traits(models[0].record)
    for model, name in zip(models[1:], names[1:], strict=True):
        other = _traits(model.record)
        told = [f"{each} {first[each]} and {other[each]}" for each in first]
        if unlike := [t for each, t in zip(first, told, strict=True) if first[each] != other[each]]:
            raise UsageError(
                "SK-C007",
                f"{names[0]} and {name} cannot be one ensemble: {'; '.join(unlike)}.",
                "Take runs that were trained on the same classes, with the same settings of data.",
            )


def _traits(record: ModelRecord) -> dict[str, str]:
    """What has to be the same of all members, as it is told."""
    plain = {each: record.training.get(each) for each in SCALES}
    return {
        "classes": ", ".join(record.label_names),
        "channels": str(record.in_channels),
        "ignored label": str(record.ignore_index),
        "background": str(record.background),
        "separation": record.separation or "none",
        **{each.replace("_", " "): str(value) for each, value in plain.items()},
    }
