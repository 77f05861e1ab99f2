"""From a checkpoint from elsewhere to a segkit model, with a report of what matched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from segkit.errors import ModelFileError
from segkit.importers import milesial, smp, torchvision
from segkit.importers.checkpoint import Checkpoint, read_checkpoint
from segkit.importers.plan import Plan
from segkit.model.compose import build_model
from segkit.model.network import ONE_OUTPUT, SegmentationModel
from segkit.registry.components import Registry, default_registry
from segkit.version import __version__

SOURCES = ("smp", "torchvision", "milesial")


HALF = (
    "It has one output: a pixel is foreground (label 1) where that is above 0, a probability of "
    "one half, and background (label 0) elsewhere."
)


@dataclass(frozen=True)
class Imported:
    """A model in evaluation mode, and how it came about.

    matched    segkit's name -> the checkpoint's, for every tensor taken over
    filled     tensors the checkpoint lacks and no result depends on
    """

    model: SegmentationModel
    plan: Plan
    matched: Mapping[str, str]
    filled: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The report in plain types."""
        plan, tensors = self.plan, self.plan.tensors
        return {
            "source": plan.source,
            "encoder": plan.encoder,
            "decoder": plan.decoder,
            "upsampler": plan.upsampler,
            "num_classes": plan.num_classes,
            "in_channels": plan.in_channels,
            "tensors": len(self.matched),
            "parameters": sum(tensors[name].numel() for name in self.matched),
            "left_out": dict(plan.left_out),
            "filled": list(self.filled),
            "notes": list(plan.notes),
            "matched": dict(self.matched),
        }


@dataclass(frozen=True)
class Wish:
    """What the user knows of the checkpoint: its encoder and decoder as the source calls them."""

    encoder: str | None = None
    decoder: str | None = None


def import_checkpoint(
    path: Path, source: str = "auto", wish: Wish | None = None, registry: Registry | None = None
) -> Imported:
    """The segkit model that equals a checkpoint from elsewhere.

    source   smp, torchvision, milesial, or auto: by the tensors' names

    Raises ModelFileError: SK-M005 (cannot be read), SK-M006 (no importer knows it, or what it is
    cannot be represented), SK-M007 (a tensor is missing or does not fit); UsageError SK-C009.
    """
    registry = registry or default_registry()
    checkpoint = read_checkpoint(path)
    plan = _plan(checkpoint, source, wish or Wish(), registry)
    if plan.num_classes == 1:
        plan = replace(plan, notes=(*plan.notes, HALF))
    model = build_model(
        plan.encoder,
        plan.decoder,
        plan.upsampler,
        num_classes=plan.num_classes,
        in_channels=plan.in_channels,
        registry=registry,
    )
    filled = _load(model, plan, path)
    if plan.normalization is not None:
        model.expect_pixels(plan.normalization)
    imported = Imported(model.eval(), plan, dict(plan.names), filled)
    model.record = replace(
        model.record,
        unpadded=plan.unpadded,
        weights={"asked": str(path), "used": "imported", "reason": plan.source},
        classes=ONE_OUTPUT if plan.num_classes == 1 else (),
        training={"imported": _provenance(checkpoint, plan)},
    )
    return imported


def _plan(checkpoint: Checkpoint, source: str, wish: Wish, registry: Registry) -> Plan:
    importers: dict[str, tuple[Callable[..., bool], Callable[..., Plan]]] = {
        "milesial": (milesial.recognises, lambda: milesial.plan(checkpoint.tensors)),
        "torchvision": (torchvision.recognises, lambda: torchvision.plan(checkpoint.tensors)),
        "smp": (
            smp.recognises,
            lambda: smp.plan(checkpoint, wish.encoder, wish.decoder, registry),
        ),
    }
    if source != "auto":
        recognises, make = importers[source]
        if recognises(checkpoint.tensors):
            return make()
        raise _unknown(checkpoint, f"does not look like a checkpoint of {source}")
    for recognises, make in importers.values():
        if recognises(checkpoint.tensors):
            return make()
    raise _unknown(checkpoint, "is of no kind that segkit imports")


def _unknown(checkpoint: Checkpoint, why: str) -> ModelFileError:
    shown = ", ".join(list(checkpoint.tensors)[:3])
    return ModelFileError(
        "SK-M006",
        f"{checkpoint.path} {why}; its tensors begin with {shown}.",
        f"segkit imports {', '.join(SOURCES)}. For weights of an encoder alone, train with "
        "--weights FILE.",
    )


def _load(model: SegmentationModel, plan: Plan, path: Path) -> tuple[str, ...]:
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in plan.tensors]
    # Old files lack BatchNorm's step counter, which no result depends on.
    filled = tuple(name for name in missing if name.endswith("num_batches_tracked"))
    missing = [name for name in missing if name not in filled]
    strange = [name for name in plan.tensors if name not in wanted]
    shapes = [
        name
        for name, tensor in plan.tensors.items()
        if name in wanted and tensor.shape != wanted[name].shape
    ]
    if missing or strange or shapes:
        raise ModelFileError(
            "SK-M007",
            f"{path}, taken as {plan.source}, does not fit {plan.encoder} with {plan.decoder}: "
            f"{_misfit(wanted, plan, missing, strange, shapes)}.",
            "Check --encoder and --decoder against what was trained.",
        )
    model.load_state_dict({**{name: wanted[name] for name in filled}, **plan.tensors})
    return filled


def _misfit(
    wanted: Mapping[str, Tensor],
    plan: Plan,
    missing: list[str],
    strange: list[str],
    shapes: list[str],
) -> str:
    texts = []
    if missing:
        texts.append(f"{len(missing)} tensors are missing, such as {missing[0]}")
    if strange:
        first = plan.names.get(strange[0], strange[0])
        texts.append(f"{len(strange)} have no place, such as {first}")
    if shapes:
        name = shapes[0]
        theirs, ours = tuple(plan.tensors[name].shape), tuple(wanted[name].shape)
        first = plan.names.get(name, name)
        texts.append(f"{len(shapes)} have another shape, such as {first}: {theirs}, not {ours}")
    return "; ".join(texts)


def _provenance(checkpoint: Checkpoint, plan: Plan) -> dict[str, Any]:
    path = checkpoint.path
    facts: dict[str, Any] = {"source": plan.source, "file": path.name, "segkit": __version__}
    if path.is_file():
        with path.open("rb") as opened:
            facts["sha256"] = hashlib.file_digest(opened, "sha256").hexdigest()
    return facts | {"notes": list(plan.notes)}
