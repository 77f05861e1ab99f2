"""What a training will do, in words, before it does it."""

from __future__ import annotations

from torch.nn import SyncBatchNorm
from torch.nn.modules.batchnorm import _BatchNorm

from segkit.device import describe
from segkit.model.activation_checkpointing import able_to_checkpoint
from segkit.model.mirroring import MIRRORS
from segkit.model.network import SegmentationModel
from segkit.reporting.tables import in_units
from segkit.reporting.words import counted
from segkit.training.optimization.cached_features import features_recur
from segkit.training.preparation.setup import Setup


def sentences(setup: Setup) -> list[tuple[str, str]]:
    """What a training will do, as (subject, sentence)."""
    config, data, model = setup.config, setup.data, setup.model
    parameters = in_units(sum(each.numel() for each in model.parameters()))
    processes = f", {setup.group.world_size} processes" if setup.group.world_size > 1 else ""
    parts = f"{config.encoder} + {config.decoder} + {config.upsampler}"
    scored = f"scored by {config.metric}" if setup.evaluates else "not scored: no image validates"
    lines = [("data", note) for note in data.notes]
    lines += [
        ("classes", f"{len(data.classes)}: {', '.join(data.classes)}"),
        ("model", f"{parts}, {parameters} parameters"),
        ("weights", _weights_sentence(model)),
        ("loss", f"{config.loss}; {scored}"),
        ("device", f"{describe(setup.group.device)}, {config.precision}{processes}"),
        ("training", _length_sentence(setup)),
    ]
    lines += [
        ("recipe" if each.setting else "caution", each.sentence()) for each in setup.decisions
    ]
    if asked := len(MIRRORS[model.record.mirrors]) - 1:
        told = counted(asked, "mirrored version")
        lines.append(("mirror", f"scores and predictions are the mean over each image and {told}"))
    if config.compile != "no":
        lines.append(("compiled", "the first step takes minutes"))
    if config.checkpoint_activations:
        able = " and ".join(able_to_checkpoint(model))
        lines.append(("memory", f"activations of the {able} are computed twice"))
    lines += _processes_sentences(setup)
    if config.freeze:
        until = f" until epoch {config.thaw_epoch}" if config.thaw_epoch else ""
        once = "; its features are computed once an image" if features_recur(config) else ""
        lines.append(("frozen", f"{config.freeze}{until}{once}"))
    return lines


def _processes_sentences(setup: Setup) -> list[tuple[str, str]]:
    """What several processes do together, and what each for itself."""
    if setup.group.world_size == 1:
        return []
    lines, unused = [], setup.unused
    if any(isinstance(each, _BatchNorm) for each in setup.model.modules()):
        own = f"each process's own {setup.batch_per_process} images"
        shared = any(isinstance(each, SyncBatchNorm) for each in setup.model.modules())
        seen = f"the whole batch of {setup.config.batch}" if shared else own
        lines.append(("norms", f"batch norms see {seen} (--sync-norms)"))
    if unused:
        named = ", ".join(unused[:3]) + ", ..." * (len(unused) > 3)
        lines.append(
            (
                "unused",
                f"{counted(len(unused), 'parameter')} without a gradient: {named}; "
                "the processes look for them in every step",
            )
        )
    return lines


def _length_sentence(setup: Setup) -> str:
    config, steps = setup.config, setup.loader.batches_per_epoch
    why = f" ({setup.length.reason})" if setup.length.reason else ""
    parts = f" in {config.accumulate} parts" if config.accumulate > 1 else ""
    return (
        f"{counted(setup.epochs, 'epoch')} of {counted(steps, 'step')}{why}, "
        f"batch {config.batch}{parts}, "
        f"crops of {config.size} x {config.size} pixels (height x width), "
        f"{config.augmentation} augmentation, learning rate {config.lr:g}"
    )


def _weights_sentence(model: SegmentationModel) -> str:
    start = model.record.weights
    if start["used"] != "none":
        return f"encoder from {start['used']}"
    # The whole reason was a warning already: here stands what was wanted.
    reason = start.get("reason", "").partition(", and ")[0].partition(" (")[0].splitlines()
    return f"RANDOM ({reason[0].rstrip('.')})" if reason else "random"
