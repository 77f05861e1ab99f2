"""What GPUs can do on paper: memory, dense peak rates and bandwidth, as their maker publishes.

Rates are FLOP/s without sparsity. The column fp32 is what torch's convolutions use by default:
TF32 tensor cores where there are any, so it is well above the plain float32 rate. Memory is what a
process is told it has (`torch.cuda.get_device_properties`), a little less than the name says.
A test holds every rate against the multiprocessors, clock and memory bus of its row. None has been
compared with a device here: `segkit plan --measured RESULT` takes those that `segkit bench` found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from segkit.bench.records.run import Run
from segkit.errors import UsageError, did_you_mean

GIB = 2**30


@dataclass(frozen=True)
class Device:
    """One device.

    memory_bytes      of the device, for a process
    flops             FLOP/s by precision; bf16 is absent where there is no hardware for it
    bytes_per_second  of its memory, to read or to write
    source            where the figures are from
    type              of torch's device
    """

    name: str
    memory_bytes: int
    flops: Mapping[str, float]
    bytes_per_second: float
    source: str
    type: str = "cuda"


def _gpu(
    name: str, gibibytes: float, fp32: float, half: float, terabytes: float, source: str
) -> Device:
    """fp32 and half in TFLOP/s, terabytes a second."""
    flops = {"fp32": fp32 * 1e12, "bf16": half * 1e12, "fp16": half * 1e12}
    return Device(
        name,
        round(gibibytes * GIB),
        flops,
        terabytes * 1e12,
        f"{source}; not compared with a device",
    )


def _without_bf16(device: Device) -> Device:
    flops = {name: rate for name, rate in device.flops.items() if name != "bf16"}
    return replace(device, flops=flops)


_HALVED = "halved, since it gives tensor rates with sparsity"
_ADA = "NVIDIA Ada GPU architecture white paper, appendix; half precision with float32 sums"
_GA102 = "NVIDIA GA102 white paper, appendix; half precision with float32 sums"

DEVICES: tuple[Device, ...] = (
    _gpu("B200", 178.4, 1125, 2250, 7.7, f"NVIDIA HGX B200 data sheet, an eighth, {_HALVED}"),
    _gpu("H200", 139.8, 494.7, 989.4, 4.8, f"NVIDIA H200 data sheet (SXM), {_HALVED}"),
    _gpu("H100-SXM", 79.1, 494.7, 989.4, 3.35, f"NVIDIA H100 data sheet (SXM), {_HALVED}"),
    _gpu("H100-PCIe", 79.1, 378, 756, 2.0, f"NVIDIA H100 data sheet (PCIe), {_HALVED}"),
    _gpu("A100-80GB", 79.1, 156, 312, 2.039, "NVIDIA A100 80GB data sheet (SXM)"),
    _gpu("A100-40GB", 39.4, 156, 312, 1.555, "NVIDIA A100 40GB data sheet (SXM)"),
    _gpu("L40S", 44.4, 183, 362, 0.864, "NVIDIA L40S data sheet, without sparsity"),
    _gpu("L4", 22.0, 60, 121, 0.300, f"NVIDIA L4 data sheet, {_HALVED}"),
    _gpu("A10", 22.0, 62.5, 125, 0.600, "NVIDIA A10 data sheet, without sparsity"),
    _gpu("RTX-5090", 31.4, 104.8, 209.5, 1.792, "NVIDIA RTX Blackwell white paper, appendix"),
    _gpu("RTX-4090", 23.5, 82.6, 165.2, 1.008, _ADA),
    _gpu("RTX-4080", 15.6, 48.7, 97.5, 0.717, _ADA),
    _gpu("RTX-4070", 11.7, 29.1, 58.3, 0.504, f"{_ADA}, by its rate a multiprocessor"),
    _gpu("RTX-3090", 23.6, 35.6, 71, 0.936, _GA102),
    _gpu("RTX-3080", 9.8, 29.8, 59.5, 0.760, _GA102),
    _gpu("RTX-3060", 11.7, 12.7, 25.5, 0.360, f"{_GA102}, by its rate a multiprocessor"),
    _without_bf16(_gpu("V100-32GB", 31.7, 15.7, 125, 0.900, "NVIDIA V100 data sheet (SXM2)")),
    _without_bf16(_gpu("V100-16GB", 15.8, 15.7, 125, 0.900, "NVIDIA V100 data sheet (SXM2)")),
    _without_bf16(_gpu("T4", 14.6, 8.1, 65, 0.320, "NVIDIA T4 data sheet")),
)


def find_device(name: str) -> Device:
    """The device of that name, however it is spelt: "rtx 4090", "A100"; UsageError SK-C009."""
    wanted = _plain(name)
    exact = [each for each in DEVICES if _plain(each.name) == wanted]
    # "A100" is the first of its kind in the table, the larger one; the plan says which it took.
    found = exact or [each for each in DEVICES if _plain(each.name).startswith(wanted)]
    if found and wanted:
        return found[0]
    names = [each.name for each in DEVICES]
    raise UsageError(
        "SK-C009",
        f"no GPU called '{name}' is in segkit's table.",
        f"{did_you_mean(name.upper(), names)}It knows {', '.join(names)}. "
        "For another one: --memory 24GB.",
    )


def measured_device(run: Run) -> Device:
    """The device of a benchmark, at the ceilings measured there; UsageError SK-C009 without any."""
    ceilings, environment = run.ceilings, run.environment
    if ceilings is None:
        raise UsageError(
            "SK-C009",
            "the benchmark's result holds no ceilings.",
            "Measure them: segkit bench; or name a GPU with --gpu.",
        )
    rates = {name: ceilings.flops(name) for name in ("fp32", "bf16", "fp16")}
    gpu = environment.device != "cpu"
    return Device(
        name=environment.device if gpu else environment.processor,
        memory_bytes=environment.device_memory_bytes or environment.memory_bytes,
        flops={name: rate for name, rate in rates.items() if rate is not None},
        bytes_per_second=ceilings.copy_bytes,
        source=f"measured by segkit bench, {run.started}",
        type="cuda" if gpu else "cpu",
    )


def _plain(name: str) -> str:
    lowered = name.lower().removeprefix("nvidia").replace("geforce", "")
    return "".join(each for each in lowered if each.isalnum())
