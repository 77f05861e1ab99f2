"""Instruments of `segkit bench` for NVIDIA GPUs, and a benchmark of launching kernels.

segkit asks `instrument` for every case on a CUDA device (entry point `segkit.instruments: cuda`).
"""

from __future__ import annotations

from segkit.api import Benchmark, Factory, hookimpl
from segkit_bench_gpu.instrument import CudaInstrument
from segkit_bench_gpu.launches import LaunchBenchmark

__all__ = ["CudaInstrument", "LaunchBenchmark", "instrument", "segkit_benchmark"]


def instrument(device: str) -> CudaInstrument:
    """What takes times, memory and energy on a device such as "cuda:0"."""
    return CudaInstrument(device)


@hookimpl
def segkit_benchmark(name: str) -> Factory[Benchmark] | None:
    return LaunchBenchmark if name == "launches" else None
