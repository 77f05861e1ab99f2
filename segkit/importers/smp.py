"""Networks of segmentation-models-pytorch: encoder, decoder and segmentation_head by those names.

The folder that its save_pretrained writes says which encoder and architecture it holds. A bare
state dict does not: the user names the encoder, and the architecture is the one whose tensors fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from segkit.errors import ModelFileError, UsageError, did_you_mean
from segkit.importers.checkpoint import Checkpoint
from segkit.importers.naming import nested_in
from segkit.importers.plan import Plan
from segkit.model.compose import build_model
from segkit.model.sizing import built_without_memory
from segkit.registry.components import Registry
from segkit.registry.expression import ComponentExpression, parse_component

# What SMP gives each architecture's encoder where the user says nothing else.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "unet": {},
    "unetplusplus": {},
    "manet": {},
    "linknet": {},
    "fpn": {},
    "pspnet": {"depth": 3},
    "deeplabv3": {"output_stride": 8},
    "deeplabv3plus": {"output_stride": 16},
    "pan": {"output_stride": 16},
    "upernet": {},
    "segformer": {},
}
ENCODER_KEYS = {"encoder_depth": "depth", "encoder_output_stride": "output_stride"}
DECODER_KEYS = {
    "decoder_attention_type": "attention",
    "decoder_interpolation": "interpolation",
    "decoder_pab_channels": "pab_channels",
    "decoder_pyramid_channels": "pyramid_channels",
    "decoder_merge_policy": "merge",
    "decoder_dropout": "dropout",
    "psp_out_channels": "width",
    "psp_dropout": "dropout",
    "decoder_atrous_rates": "atrous_rates",
    "decoder_aspp_separable": "separable",
    "decoder_aspp_dropout": "dropout",
}
# The decoders whose steps have widths of their own, and those that SMP gives a centre over VGG.
STEPPED = ("unet", "unetplusplus", "manet")
CENTRED = ("unet", "unetplusplus")
OLD_TIMM = tuple(f"timm-{kind}" for kind in ("regnet", "res2", "resnest", "mobilenetv3", "gernet"))
CLASSIFICATION = "the classification head, which segmentation does not use"
UNUSED = "no map that the decoder takes depends on it"
PIXELS = (
    "The pixels are normalised as the encoder's published weights expect it: check that the "
    "training did so too."
)


def recognises(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of such a network."""
    parts = {key.partition(".")[0] for key in tensors}
    return {"encoder", "decoder", "segmentation_head"} <= parts


def plan(
    checkpoint: Checkpoint, encoder: str | None, decoder: str | None, registry: Registry
) -> Plan:
    """The segkit network; of several architectures that might be meant, the one that fits best.

    encoder, decoder   as SMP calls them, with options where they were not SMP's own choice:
                       "resnet34", "unet(widths=[64, 32, 16])"

    Raises ModelFileError SK-M006 for what cannot be represented, UsageError SK-C011 where the
    encoder is neither given nor written beside the tensors.
    """
    if "segmentation_head.0.weight" not in checkpoint.tensors:
        raise _refused(checkpoint, "a segmentation head of several layers, as SMP's DPT has it")
    if any(key.startswith("decoder.gau3.") for key in checkpoint.tensors):
        raise _refused(checkpoint, "a PAN that joins two maps of one stride, as with depth 5")
    named_encoder, named_decoder = _from_config(checkpoint.config)
    chosen_encoder = parse_component(encoder) if encoder else named_encoder
    chosen_decoder = parse_component(decoder) if decoder else named_decoder
    if chosen_encoder is None:
        raise UsageError(
            "SK-C011",
            f"{checkpoint.path} does not say which encoder it has.",
            "Name it as it was called in training: --encoder resnet34.",
        )
    if chosen_decoder is not None:
        return _Reading(checkpoint, chosen_encoder, chosen_decoder, registry).plan()
    return _best(checkpoint, chosen_encoder, registry)


def _best(checkpoint: Checkpoint, encoder: ComponentExpression, registry: Registry) -> Plan:
    """The first architecture that fits as SMP builds it, else the one that comes nearest."""
    nearest: Plan | None = None
    for name in ARCHITECTURES:
        reading = _Reading(checkpoint, encoder, ComponentExpression(name), registry)
        try:
            plan = reading.plan()
        except UsageError as error:
            if error.code != "SK-C007":
                raise
            continue
        if reading.fits(plan):
            return plan
        if nearest is None or len(plan.names) > len(nearest.names):
            nearest = plan
    if nearest is None:
        raise ModelFileError(
            "SK-M006",
            f"no architecture of SMP works over the encoder {encoder}.",
            "Check --encoder against what was trained.",
        )
    return nearest


def _refused(checkpoint: Checkpoint, what: str) -> ModelFileError:
    return ModelFileError(
        "SK-M006",
        f"{checkpoint.path} holds {what}, which segkit does not build.",
        f"Of SMP's networks segkit imports {', '.join(ARCHITECTURES)} (pan with depth 4).",
    )


class _Reading:
    """A checkpoint taken for one encoder and one architecture."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        encoder: ComponentExpression,
        decoder: ComponentExpression,
        registry: Registry,
    ) -> None:
        architecture = decoder.name.removeprefix("smp/")
        if architecture not in ARCHITECTURES:
            raise UsageError(
                "SK-C009",
                f"'{architecture}' is no architecture that segkit imports from SMP.",
                f"{did_you_mean(architecture, ARCHITECTURES)}It imports "
                f"{', '.join(ARCHITECTURES)}.",
            )
        self.tensors, self.registry = checkpoint.tensors, registry
        self.head_OIHW = checkpoint.tensors["segmentation_head.0.weight"]
        self.encoder = replace(
            _segkit_encoder(encoder), options={**ARCHITECTURES[architecture], **encoder.options}
        )
        centre = {"center": True} if architecture in CENTRED and "vgg" in self.encoder.name else {}
        self.decoder = ComponentExpression(f"smp/{architecture}", {**centre, **decoder.options})
        self.theirs = "model." if self.encoder.name.startswith("timm/") else ""
        self.in_channels = 3
        self.wanted = self._shapes(self.encoder)
        self.names = self._paired()
        self.in_channels = self._in_channels()
        self.wanted = self._shapes(self.encoder)

    def plan(self) -> Plan:
        taken = set(self.names.values())
        left_out, strange = self._remaining([key for key in self.tensors if key not in taken])
        state = {ours: self.tensors[key] for ours, key in self.names.items()}
        return Plan(
            source=f"segmentation-models-pytorch's {self.decoder.name.removeprefix('smp/')}",
            encoder=str(self.encoder),
            decoder=str(self.decoder),
            upsampler="bilinear",
            num_classes=self.head_OIHW.shape[0],
            in_channels=self.in_channels,
            # Tensors without a place stay in, under their own names: the import then refuses.
            tensors={**state, **{key: self.tensors[key] for key in strange}},
            names=self.names,
            left_out=left_out,
            notes=(PIXELS,),
        )

    def fits(self, plan: Plan) -> bool:
        """Whether every tensor has its place and its shape."""
        return plan.tensors.keys() <= self.wanted.keys() and all(
            name in plan.tensors and plan.tensors[name].shape == shape
            for name, shape in self.wanted.items()
            if not name.endswith("num_batches_tracked")
        )

    def _shapes(self, encoder: ComponentExpression) -> dict[str, torch.Size]:
        model = built_without_memory(
            lambda: build_model(
                str(encoder),
                str(self.decoder),
                num_classes=self.head_OIHW.shape[0],
                in_channels=self.in_channels,
                registry=self.registry,
            )
        )
        return {name: tensor.shape for name, tensor in model.state_dict().items()}

    def _paired(self) -> dict[str, str]:
        """segkit's name -> the checkpoint's, for all that have one."""
        names = {"head.weight": "segmentation_head.0.weight"}
        if "segmentation_head.0.bias" in self.tensors:
            names["head.bias"] = "segmentation_head.0.bias"
        for part, inside in (("encoder.", self.theirs), ("decoder.", "")):
            theirs = _below(part + inside, self.tensors)
            ours = _below(part, self.wanted)
            prefix = nested_in(ours, theirs) or ""
            for name in ours:
                if (key := name.removeprefix(prefix)) in theirs and name.startswith(prefix):
                    names[part + name] = part + inside + key
        return names

    def _in_channels(self) -> int:
        """Of the image: where the first convolution differs from one for three channels."""
        for ours, key in self.names.items():
            wanted, found = self.wanted[ours], self.tensors[key].shape
            if (
                len(wanted) == 4
                and wanted[1] == 3
                and wanted[:1] + wanted[2:] == found[:1] + found[2:]
            ):
                return found[1]
        return 3

    def _remaining(self, keys: Sequence[str]) -> tuple[dict[str, str], list[str]]:
        """(left out -> why, without a place) of the checkpoint's tensors that no part here has."""
        left_out = {key: CLASSIFICATION for key in keys if key.startswith("classification_head.")}
        unused = self._unused([key for key in keys if key.startswith("encoder.")])
        left_out |= dict.fromkeys(unused, UNUSED)
        return left_out, [key for key in keys if key not in left_out]

    def _unused(self, keys: Sequence[str]) -> list[str]:
        """Those of deeper levels and of classifiers' ends, which segkit does not build.

        Not those of another variant: block 3 of a stage that has two here is no unused tensor.
        """
        if not keys:
            return []
        whole = self.encoder
        if "depth" in whole.options:
            options = {k: v for k, v in whole.options.items() if k != "depth"}
            whole = replace(whole, options=options)
        component = self.registry.component("encoders", whole)
        encoder = built_without_memory(
            lambda: component.build(in_channels=self.in_channels, weights="none")
        )
        known, inside = encoder.state_dict().keys(), "encoder." + self.theirs
        theirs = _below(inside, self.tensors)
        prefix = nested_in(known, theirs) or ""
        ours = {name.removeprefix(prefix) for name in known}
        parts = {name.partition(".")[0] for name in ours}
        return [
            key
            for key in keys
            if (name := key.removeprefix(inside)) in ours or name.partition(".")[0] not in parts
        ]


def _segkit_encoder(named: ComponentExpression) -> ComponentExpression:
    """segkit's name for an encoder of SMP; those that SMP takes from timm begin with tu-."""
    name = named.name
    if name.startswith(OLD_TIMM):
        # SMP itself reads these older names so.
        name = name.replace("timm-", "tu-tf_" if "mobilenetv3" in name else "tu-")
    if name.startswith("tu-"):
        return replace(named, name=f"timm/{name.removeprefix('tu-')}")
    return named if "/" in name else replace(named, name=f"smp/{name}")


def _below(prefix: str, names: Iterable[str]) -> list[str]:
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def _from_config(
    config: Mapping[str, Any],
) -> tuple[ComponentExpression | None, ComponentExpression | None]:
    """The encoder and the architecture that config.json names, with their options."""
    if "encoder_name" not in config or "_model_class" not in config:
        return None, None
    architecture = str(config["_model_class"]).lower()
    encoder = {ENCODER_KEYS[key]: config[key] for key in ENCODER_KEYS if key in config}
    decoder = {DECODER_KEYS[key]: config[key] for key in DECODER_KEYS if key in config}
    if "decoder_channels" in config:
        decoder["widths" if architecture in STEPPED else "width"] = config["decoder_channels"]
    if "decoder_segmentation_channels" in config:
        name = "width" if architecture == "segformer" else "segmentation_channels"
        decoder[name] = config["decoder_segmentation_channels"]
    if decoder.get("attention", "") is None:
        decoder["attention"] = "none"
    if "decoder_use_norm" in config:
        decoder["norm"] = _norm(config["decoder_use_norm"])
    return (
        ComponentExpression(str(config["encoder_name"]), encoder),
        ComponentExpression(architecture, decoder),
    )


def _norm(written: Any) -> str:
    if written in (True, "batchnorm"):
        return "batchnorm"
    if written in (False, "identity"):
        return "none"
    raise ModelFileError(
        "SK-M006",
        f"the decoder was trained with decoder_use_norm={written!r}, which segkit does not build.",
        "segkit imports decoders with batch norm or without a norm.",
    )
