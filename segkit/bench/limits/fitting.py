"""Which steps of a training fit, counted as for `plan`: refuses what cannot, names what would."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from math import isqrt

import torch

from segkit.bench.limits.counting import Step, count_step
from segkit.bench.limits.devices import GIB
from segkit.bench.limits.planner import largest_batch
from segkit.config import TrainConfig
from segkit.device import choose_device
from segkit.errors import OutOfMemory, SegkitError
from segkit.training.loop.memory_of_step import StepAsked

# Smaller steps are simply tried; to count one takes seconds.
WORTH_COUNTING = 64 * 2**20
# Of the memory that tensors may have: the rest is for gaps, workspaces and reading ahead.
SHARE = 0.85
# Sides of crops that are named are multiples of it, as the strides of encoders are.
SIDE = 32


def refuse_too_large(config: TrainConfig) -> None:
    """Raises OutOfMemory SK-T002 where a step of two classes already exceeds the whole memory."""
    if config.size is None or config.batch == "auto":
        return
    if config.size**2 * config.batch < WORTH_COUNTING:
        return
    device = choose_device(config.device)
    memory = _memory(device)
    channels, pixels = config.in_channels or 3, config.size**2 * config.batch
    # Images in single precision, masks in whole numbers of eight bytes: known at once, where to
    # count all that the network holds takes ten seconds.
    needed, of_what = pixels * (4 * channels + 8), "for its images and masks alone"
    if memory and needed <= memory:
        precision = "bf16" if config.precision == "auto" else config.precision
        step = _step_of(config, 2, channels, config.batch, precision, "cuda")
        try:
            needed, of_what = count_step(step).peak_bytes, "at the least"
        except (SegkitError, RuntimeError):
            return  # what cannot be counted is tried
    if memory and needed > memory:
        raise OutOfMemory(
            "SK-T002",
            f"a step of {config.batch} crops of {config.size} x {config.size} pixels (height x "
            f"width) needs {needed / GIB:,.0f} GiB {of_what}, and {device} has "
            f"{memory / GIB:,.0f} GiB.",
            f"Use a smaller --size, such as 512, or a smaller --batch; `segkit plan --memory "
            f"{max(1, memory // GIB)} --size {config.size}` says which batch fits.",
        )


def what_fits(asked: StepAsked) -> str:
    """Options with which a step that did not fit would, by count, each by itself; "" for none.

    It is told what the step needs, since a step that seems to fit had its memory taken by others.
    """
    config, size = asked.config, int(asked.config.size or 0)
    at_once = max(1, asked.images // config.accumulate)
    device = "cuda" if asked.kind == "cuda" else "cpu"
    step = _step_of(config, asked.classes, asked.channels, at_once, config.precision, device)
    usable = int(SHARE * asked.usable)
    try:
        needed = count_step(step).peak_bytes
        options = list(_options(asked, step, usable)) if needed > usable else []
    except (SegkitError, RuntimeError, MemoryError):
        return ""
    told = (
        f"A step of {asked.images} crops of {size} x {size} pixels in {config.precision} needs "
        f"about {needed / GIB:.2f} GiB for tensors, and {usable / GIB:.2f} GiB could be had safely."
    )
    if not options:
        return told
    return f"{told} By count it fits with any of: {'; '.join(options)}."


def _step_of(
    config: TrainConfig, classes: int, channels: int, batch: int, precision: str, device: str
) -> Step:
    size = int(config.size or 0)
    return Step(
        encoder=config.encoder,
        decoder=config.decoder,
        upsampler=config.upsampler,
        loss=config.loss,
        classes=classes,
        channels=channels,
        height=size,
        width=size,
        batch=batch,
        precision=precision,
        channels_last=config.channels_last,
        average=config.ema_decay > 0,
        device=device,
        checkpoint_activations=config.checkpoint_activations,
    )


def _options(asked: StepAsked, step: Step, usable: int) -> Iterator[str]:
    """The smallest change of each kind that makes the step fit."""
    config, images, processes = asked.config, asked.images, asked.processes

    def fits(**changes: object) -> bool:
        return count_step(replace(step, **changes)).peak_bytes <= usable  # type: ignore[arg-type]

    def most(**changes: object) -> int:
        other = replace(step, **changes)  # type: ignore[arg-type]
        return largest_batch(lambda n: count_step(replace(other, batch=n)).peak_bytes, usable)

    fitting = min(most(), step.batch)
    parts = [n for n in range(2, images // 2 + 1) if images % n == 0 and images // n <= fitting]
    if parts:
        yield f"--accumulate {parts[0]} (the same batch, in parts of {images // parts[0]})"
    if fitting > 1:
        yield f"--batch {fitting * config.accumulate * processes}"
    # A crop's memory goes by its area, nearly.
    side = isqrt(int(step.height**2 * usable / count_step(step).peak_bytes)) // SIDE * SIDE
    while side >= 2 * SIDE and not fits(height=side, width=side):
        side -= SIDE
    if side >= 2 * SIDE:
        yield f"--size {side}"
    if step.precision == "fp32":
        halved = min(most(precision="bf16"), step.batch)
        if halved > max(fitting, 1):
            smaller = f" --batch {halved * config.accumulate * processes}" * (halved < step.batch)
            yield f"--precision bf16{smaller}"
    if not step.checkpoint_activations and fits(checkpoint_activations=True):
        yield "--checkpoint-activations (also of a run that goes on with --resume)"


def _memory(device: torch.device) -> int:
    """Bytes of the whole device; 0 where they cannot be told."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0
