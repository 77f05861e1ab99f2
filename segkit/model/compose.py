"""Puts named components together: model, loss, metric. What cannot work is refused by name."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from segkit.errors import PluginError, UsageError, WeightsUnavailable
from segkit.interfaces import (
    Decoder,
    DecoderTraits,
    Encoder,
    EncoderTraits,
    Metric,
    Normalization,
    Upsampler,
)
from segkit.model.loss_sum import LossSum
from segkit.model.network import ModelRecord, Part, SegmentationModel
from segkit.model.recorded_parts import recorded_components
from segkit.registry.components import Component, Registry, default_registry
from segkit.registry.expression import parse_component, parse_sum

Options = Mapping[str, Any]
DEFAULT_UPSAMPLER = "bilinear"


# Built as usual wherever it is called: a parameter made in inference mode could never be trained.
@torch.inference_mode(False)
@torch.enable_grad()
def build_model(
    encoder: str,
    decoder: str = "unet",
    upsampler: str = DEFAULT_UPSAMPLER,
    *,
    num_classes: int,
    in_channels: int = 3,
    weights: str = "none",
    encoder_options: Options | None = None,
    decoder_options: Options | None = None,
    upsampler_options: Options | None = None,
    separation: str = "",
    maps: int = 0,
    registry: Registry | None = None,
) -> SegmentationModel:
    """A network of three named parts, an ordinary nn.Module: logits_BKHW = model(image_BCHW).

    encoder, decoder, upsampler   a name, or a name with options: "densenet121(depth=4)"
    num_classes                   classes K, at least 1
    in_channels                   channels of the image, at least 1
    weights                       of the encoder: "none", "imagenet" (cache or hub, else an error),
                                  "auto" (the same, else a warning and a random start), or the path
                                  of a safetensors file
    *_options                     more options, as a mapping: they win over those in the name
    separation, maps              how it tells touching objects apart, and by how many maps: what a
                                  training sets with --separate

    Raises UsageError (SK-C0xx), WeightsUnavailable, PluginError.
    """
    registry = registry or default_registry()
    _at_least_one(num_classes=num_classes, in_channels=in_channels)
    named_encoder = registry.component("encoders", encoder, encoder_options)
    named_decoder = registry.component("decoders", decoder, decoder_options)
    named_upsampler = registry.component("upsamplers", upsampler, upsampler_options)
    built_encoder, start = _with_weights(named_encoder, in_channels, weights)
    return _assemble(
        built_encoder,
        (named_encoder, named_decoder, named_upsampler),
        num_classes=num_classes,
        in_channels=in_channels,
        weights=start,
        separation=separation,
        maps=maps,
    )


@torch.inference_mode(False)
@torch.enable_grad()
def build_recorded(record: ModelRecord, registry: Registry | None = None) -> SegmentationModel:
    """The network a record describes, at random weights; never touches the network.

    Raises ModelFileError SK-M003 where a plugin it was built with is not installed.
    """
    registry = registry or default_registry()
    parts = {"encoders": record.encoder, "decoders": record.decoder, "upsamplers": record.upsampler}
    named = recorded_components(parts, registry)
    encoder = named["encoders"].built(in_channels=record.in_channels, weights="none")
    model = _assemble(
        checked_encoder(encoder, named["encoders"]),
        (named["encoders"], named["decoders"], named["upsamplers"]),
        num_classes=record.num_classes,
        in_channels=record.in_channels,
        weights=dict(record.weights),
        maps=record.maps,
    )
    model.record = record
    if pixels := record.normalization:
        model.expect_pixels(Normalization(tuple(pixels["mean"]), tuple(pixels["std"])))
    return model


def build_loss(
    expression: str,
    *,
    num_classes: int,
    ignore_index: int | None = None,
    options: Options | None = None,
    registry: Registry | None = None,
) -> nn.Module:
    """A loss by name, or a weighted sum: "dice", "0.5*dice + focal(gamma=2)".

    Called with logits_BKHW and target_BHW (int64); ignored pixels count for nothing.
    options   more options, where the expression is a single loss
    """
    registry = registry or default_registry()
    _at_least_one(num_classes=num_classes)
    terms = parse_sum(expression)
    if options and len(terms) > 1:
        raise UsageError(
            "SK-C005",
            "options= goes with a single loss.",
            "Write them into the sum: dice + focal(gamma=2).",
        )
    if not any(term.weight for term in terms):
        raise UsageError(
            "SK-C009",
            f"the loss '{expression}' is 0 whatever the network says.",
            "Give a part a weight above 0, or no weights: dice+ce.",
        )
    built = []
    for term in terms:
        component = registry.component("losses", term.component, options)
        loss = component.built(num_classes=num_classes, ignore_index=ignore_index)
        built.append((term.weight, str(term.component), _module(loss, component)))
    if len(built) == 1 and built[0][0] == 1:
        return built[0][2]
    return LossSum(built)


def build_metric(
    expression: str,
    *,
    num_classes: int,
    ignore_index: int | None = None,
    options: Options | None = None,
    registry: Registry | None = None,
) -> Metric:
    """A metric by name: update(label_BHW, target_BHW), compute(), reset()."""
    registry = registry or default_registry()
    _at_least_one(num_classes=num_classes)
    component = registry.component("metrics", parse_component(expression), options)
    metric: Metric = component.built(num_classes=num_classes, ignore_index=ignore_index)
    return metric


def checked_encoder(encoder: Any, component: Component) -> Encoder:
    """The encoder, where it keeps its contract; raises PluginError SK-P003 where not."""
    _module(encoder, component)
    channels, strides = tuple(encoder.channels), tuple(encoder.strides)
    if len(channels) != len(strides) or not strides:
        raise _contract(component, f"has {len(channels)} channels for {len(strides)} strides")
    powers = all(s > 0 and s & (s - 1) == 0 for s in strides)
    if not powers or list(strides) != sorted(set(strides)):
        raise _contract(component, f"has strides {strides}, which are not increasing powers of two")
    return encoder


def _with_weights(
    component: Component, in_channels: int, weights: str
) -> tuple[Encoder, dict[str, str]]:
    start = {"asked": weights, "used": weights, "reason": ""}
    asked = "imagenet" if weights == "auto" else weights
    random_state = torch.get_rng_state()
    try:
        encoder = component.built(in_channels=in_channels, weights=asked)
        start["used"] = asked
    except WeightsUnavailable as error:
        if weights != "auto":
            raise
        start |= {"used": "none", "reason": error.what}
        # Where none are published there is nothing to shout about: the record says so.
        if error.code == "SK-W001":
            warnings.warn(
                f"{error}\nTraining of {component.name} starts from RANDOM weights.", stacklevel=3
            )
        # Where the attempt has drawn random numbers: the start is that of --weights none.
        torch.set_rng_state(random_state)
        encoder = component.built(in_channels=in_channels, weights="none")
    return checked_encoder(encoder, component), start


def _assemble(
    encoder: Encoder,
    named: tuple[Component, Component, Component],
    *,
    num_classes: int,
    in_channels: int,
    weights: Mapping[str, str],
    separation: str = "",
    maps: int = 0,
) -> SegmentationModel:
    decoder = _build_decoder(encoder, *named)
    encoder_part, decoder_part, upsampler_part = (
        Part(str(c.expression), c.entry.distribution, c.entry.version) for c in named
    )
    record = ModelRecord(
        encoder=encoder_part,
        decoder=decoder_part,
        upsampler=upsampler_part,
        num_classes=num_classes,
        in_channels=in_channels,
        weights=dict(weights),
        separation=separation,
        maps=maps,
    )
    return SegmentationModel(encoder, decoder, record)


def _build_decoder(
    encoder: Encoder, encoder_named: Component, decoder_named: Component, upsampler_named: Component
) -> Decoder:
    traits = EncoderTraits.of(encoder)

    def make_upsampler(*, in_channels: int, out_channels: int, scale: int) -> Upsampler:
        upsampler: Upsampler = upsampler_named.built(
            in_channels=in_channels, out_channels=out_channels, scale=scale
        )
        _module(upsampler, upsampler_named)
        if upsampler.needs_pool_indices and not traits.provides_pool_indices:
            raise UsageError(
                "SK-C007",
                f"the upsampler '{upsampler_named.name}' needs the indices of the encoder's "
                f"maximum pooling, and the encoder '{encoder_named.name}' gives none.",
                "Choose an encoder that pools by maximum at every level, such as vgg16_bn or unet "
                "(padding=same), or an upsampler that needs no indices, such as bilinear.",
            )
        return upsampler

    decoder = decoder_named.built(
        channels=tuple(encoder.channels),
        strides=tuple(encoder.strides),
        make_upsampler=make_upsampler,
    )
    _module(decoder, decoder_named)
    _refuse_idle_upsampler(decoder, decoder_named, upsampler_named)
    if bool(traits.margin) != bool(DecoderTraits.of(decoder).margin):
        unpadded = f"the encoder '{encoder_named.name}'"
        padded = f"the decoder '{decoder_named.name}'"
        if not traits.margin:
            unpadded, padded = padded, unpadded
        raise UsageError(
            "SK-C007",
            f"{unpadded} convolves without padding and {padded} with it: their maps would not fit.",
            "Give both the option padding=valid, or both padding=same.",
        )
    return decoder


def _refuse_idle_upsampler(decoder: Decoder, named: Component, upsampler: Component) -> None:
    usual = {option.name: option.default for option in upsampler.options}
    chosen = upsampler.name != DEFAULT_UPSAMPLER or dict(upsampler.values) != usual
    if chosen and not DecoderTraits.of(decoder).uses_upsampler:
        raise UsageError(
            "SK-C007",
            f"the decoder '{named.name}' enlarges its maps in its own way: the upsampler "
            f"'{upsampler.expression}' would have no effect.",
            f"Leave the upsampler out, or choose a decoder that uses one, such as unet; "
            f"`segkit info decoder {named.name}` shows its own options.",
        )


def _module(part: Any, component: Component) -> nn.Module:
    if not isinstance(part, nn.Module):
        raise _contract(component, f"is a {type(part).__name__}, and no torch.nn.Module")
    return part


def _contract(component: Component, breach: str) -> PluginError:
    entry = component.entry
    return PluginError(
        "SK-P003",
        f"{entry.distribution} {entry.version}: '{component.name}' {breach}.",
        f"Please report it to the authors of {entry.distribution}; "
        "`segkit plugins --check` tests every plugin.",
    )


def _at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise UsageError("SK-C009", f"{name} is {number}.", "It must be at least 1.")
