"""Whether a combination fits a device, and how long a step must take at the least; nothing is run.

Memory is counted tensor by tensor (counting.py). Time is bounded by the device's rates as
published: no step is quicker, and most reach a half to three quarters of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from segkit.bench.limits.counting import Step, StepCount, count_step
from segkit.bench.limits.devices import GIB, Device
from segkit.errors import UsageError

# Of a GPU's memory no tensor ever sees: CUDA's context and the libraries' kernels ...
CONTEXT_BYTES = 700 * 2**20
# ... and what the allocator cannot use for gaps and convolutions need as workspace, a share.
GAPS = 0.05
# The host needs about this long to have a GPU begin one operation, in Python; graphs avoid it.
LAUNCH_SECONDS = 5e-6
LARGEST_BATCH = 65536

# As on a GPU's box, GB and GiB are the same: 2**30.
UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
# The first two batches that are counted; both lie on the lines that matter for real batches.
SMALL, LARGER = 2, 16


@dataclass(frozen=True)
class Bounds:
    """Seconds that a step takes at the least, on a device that reaches its rates.

    arithmetic   were memory free
    memory       were arithmetic free and everything but convolutions and products fused
    fused        neither free: each phase takes the longer of both
    eager        every operation by itself reads and writes memory, as PyTorch works by default
    launches     what the host needs to have all operations begin, unless a graph is replayed;
                 0 on a CPU
    """

    arithmetic: float
    memory: float
    fused: float
    eager: float
    launches: float


@dataclass(frozen=True)
class Plan:
    """What was asked and what came out.

    step           at the batch asked for, or at the largest that fits
    count          of that step
    usable_bytes   of the device's memory, for tensors; null where no device was named
    largest_batch  that fits; null where no device was named, 0 where no batch does
    fits           whether the step does; null where no device was named
    """

    step: Step
    count: StepCount
    memory_bytes: int | None
    usable_bytes: int | None
    largest_batch: int | None
    fits: bool | None
    device: Device | None
    bounds: Bounds | None


def make_plan(
    step: Step, batch: int | None, memory_bytes: int | None, device: Device | None
) -> Plan:
    """Plans a step.

    batch         images; None: the largest that fits, or 8 where no memory is named
    memory_bytes  of the whole device; None: the device's own

    Raises UsageError where the parts cannot be counted or built.
    """
    memory = memory_bytes or (device.memory_bytes if device else None)
    usable = usable_bytes(memory, step.device) if memory else None
    counted: dict[int, StepCount] = {}

    def count(images: int) -> StepCount:
        if images not in counted:
            counted[images] = count_step(replace(step, batch=images))
        return counted[images]

    largest = None
    if usable is not None:
        largest = largest_batch(lambda images: count(images).peak_bytes, usable)
    chosen = batch or largest or (8 if largest is None else 1 + (step.mode == "train"))
    found = count(chosen)
    return Plan(
        step=replace(step, batch=chosen),
        count=found,
        memory_bytes=memory,
        usable_bytes=usable,
        largest_batch=largest,
        fits=None if usable is None else found.peak_bytes <= usable,
        device=device,
        bounds=time_bounds(found, step.precision, device) if device else None,
    )


def usable_bytes(memory_bytes: int, kind: str = "cuda") -> int:
    """What of a device's memory tensors can have; of a CPU's, the system's share is not known."""
    if kind != "cuda":
        return int(memory_bytes * (1 - GAPS))
    return max(0, int((memory_bytes - CONTEXT_BYTES) * (1 - GAPS)))


def largest_batch(peak: Any, usable: int) -> int:
    """The largest batch whose peak(batch) is within `usable` bytes; 0 where none is.

    The peak is the highest of several straight lines over the batch: each guess lies on the line
    through the last two counts, and is counted itself.
    """
    fits, over = 0, LARGEST_BATCH + 1
    points: list[tuple[int, int]] = []
    guess = SMALL
    while over - fits > 1:
        at = _peak_or_none(peak, guess)
        if at is not None:
            points = [*points, (guess, at)][-2:]
        if at is not None and at <= usable:
            fits = guess
        else:
            over = guess
        if len(points) < 2:
            guess = LARGER if fits else 1
            continue
        (before, at_before), (now, at_now) = sorted(points)
        slope = (at_now - at_before) / (now - before)
        # The lines only grow steeper, so beyond `now` the peak is no lower than this one.
        reach = int(now + (usable - at_now) / slope) if slope > 0 else LARGEST_BATCH
        if fits >= now:
            over = min(over, max(reach, fits) + 1)
        guess = min(max(reach, fits + 1), over - 1)
    return fits


def time_bounds(count: StepCount, precision: str, device: Device) -> Bounds:
    """Bounds of a step's time; raises UsageError where the device lacks the precision."""
    if precision not in device.flops:
        raise UsageError(
            "SK-C009",
            f"the {device.name} has no hardware for {precision}.",
            f"Use --precision {' or '.join(device.flops)}.",
        )
    flops, bandwidth = device.flops[precision], device.bytes_per_second
    arithmetic = {phase: count.flops(phase) / flops for phase in count.phases}
    memory = {phase: each / bandwidth for phase, each in count.fewest_bytes.items()}
    return Bounds(
        arithmetic=sum(arithmetic.values()),
        memory=sum(memory.values()),
        fused=sum(max(arithmetic[phase], memory[phase]) for phase in arithmetic),
        eager=sum(max(each.flops / flops, each.bytes / bandwidth) for each in count.operations),
        launches=count.launches() * LAUNCH_SECONDS * (device.type == "cuda"),
    )


def bytes_of(text: str) -> int:
    """The bytes that "24", "24GB", "16GiB" or "800 MB" name; raises UsageError SK-C009.

    A bare number is GiB: nobody asks whether a network fits into 24 bytes.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])i?)?b?\s*", text.lower())
    if match is None or not float(match[1]):
        raise UsageError(
            "SK-C009", f"'{text}' is no amount of memory.", "Write 24 (GiB), 24GB or 800MB."
        )
    return int(
        float(match[1]) * UNITS[match[2] or ("" if text.lower().rstrip().endswith("b") else "g")]
    )


def in_bytes(number: float) -> str:
    """Bytes as people say them: 812 MiB, 23.5 GiB."""
    if abs(number) < GIB:
        return f"{number / 2**20:.4g} MiB"
    return f"{number / GIB:.3g} GiB"


def _peak_or_none(peak: Any, images: int) -> int | None:
    """None where a batch cannot be trained on at all, as a single image under batch norm."""
    try:
        found: int = peak(images)
    except UsageError:
        if images > 1:
            raise
        return None
    return found
