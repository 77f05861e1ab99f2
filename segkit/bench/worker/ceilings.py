"""The most this device was seen to do: matrix products, convolutions, copies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch.nn import functional as F

from segkit.bench.records.machine import Ceilings
from segkit.bench.workloads.inputs import DTYPES

REPEATS = 7
# Side of the square product, maps (batch, channels, side) of the convolution, bytes of the copy.
SMALL, LARGE = (1024, (4, 128, 64), 2**27), (8192, (32, 512, 128), 2**31)
# What the large ones take, with their copies.
LARGE_BYTES = 8 * 2**30


def measure_ceilings(
    device: str, precisions: Sequence[str], threads: int | None = None
) -> Ceilings:
    """FLOP/s of a product and of a convolution by precision, bytes/s of a copy; best of 7.

    threads   that torch is to have from here on; None leaves it as it is
    """
    if threads is not None:
        torch.set_num_threads(threads)
    side, (batch, channels, pixels), copied = LARGE if _is_large(device) else SMALL
    products, convolutions = {}, {}
    for precision in precisions:
        dtype = DTYPES[precision]
        a = torch.randn(side, side, device=device, dtype=dtype)
        b = torch.randn(side, side, device=device, dtype=dtype)
        products[precision] = 2 * side**3 / _best(partial(torch.mm, a, b), device)
        x_BCHW = torch.randn(batch, channels, pixels, pixels, device=device, dtype=dtype)
        x_BCHW = x_BCHW.contiguous(memory_format=torch.channels_last)
        weight = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
        weight = weight.contiguous(memory_format=torch.channels_last)
        seconds = _best(partial(F.conv2d, x_BCHW, weight, padding=1), device)
        convolutions[precision] = 2 * 9 * channels**2 * batch * pixels**2 / seconds
    source = torch.empty(copied, dtype=torch.uint8, device=device).fill_(1)
    target = torch.empty_like(source)
    seconds = _best(partial(target.copy_, source), device)
    return Ceilings(
        matmul_flops=products,
        convolution_flops=convolutions,
        copy_bytes=2 * copied / seconds,
        threads=threads,
    )


def _is_large(device: str) -> bool:
    """Whether this is a GPU that only large work keeps busy, and that has the memory for it."""
    if torch.device(device).type != "cuda":
        return False
    return torch.cuda.get_device_properties(torch.device(device)).total_memory >= LARGE_BYTES


def _best(work: Callable[[], object], device: str) -> float:
    """The least seconds of several calls: a ceiling is what is possible, not what is usual."""
    kind = torch.device(device).type
    wait = getattr(torch, kind).synchronize if kind != "cpu" else lambda: None
    least = float("inf")
    with torch.inference_mode():
        for _ in range(REPEATS + 2):
            wait()
            start = time.perf_counter()
            work()
            wait()
            least = min(least, time.perf_counter() - start)
    return least
