"""Refuses a training whose step cannot fit, before anything is read, counted as for `plan`."""

from __future__ import annotations

import os

import torch

from segkit.bench.counting import Step, count_step
from segkit.bench.devices import GIB
from segkit.config import TrainConfig
from segkit.device import choose_device
from segkit.errors import OutOfMemory, SegkitError

# Smaller steps are simply tried; to count one takes seconds.
WORTH_COUNTING = 64 * 2**20


def refuse_too_large(config: TrainConfig) -> None:
    """Raises OutOfMemory SK-T002 where a step of two classes already exceeds the whole memory."""
    if config.size is None or config.batch == "auto":
        return
    if config.size**2 * config.batch < WORTH_COUNTING:
        return
    device = choose_device(config.device)
    memory = _memory(device)
    step = Step(
        encoder=config.encoder,
        decoder=config.decoder,
        upsampler=config.upsampler,
        loss=config.loss,
        classes=2,
        channels=config.in_channels or 3,
        height=config.size,
        width=config.size,
        batch=config.batch,
        precision="bf16" if config.precision in ("auto", "bf16") else config.precision,
        average=config.ema_decay > 0,
        device="cuda",
        checkpoint_activations=config.checkpoint_activations,
    )
    try:
        needed = count_step(step).peak_bytes
    except (SegkitError, RuntimeError):
        return  # what cannot be counted is tried
    if memory and needed > memory:
        raise OutOfMemory(
            "SK-T002",
            f"a step of {config.batch} crops of {config.size} x {config.size} pixels (height x "
            f"width) needs {needed / GIB:,.0f} GiB at the least, and {device} has "
            f"{memory / GIB:,.0f} GiB.",
            f"Use a smaller --size, such as 512, or a smaller --batch; `segkit plan --memory "
            f"{max(1, memory // GIB)} --size {config.size}` says which batch fits.",
        )


def _memory(device: torch.device) -> int:
    """Bytes of the whole device; 0 where they cannot be told."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0
