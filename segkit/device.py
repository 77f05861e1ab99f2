"""Which device a training runs on and in which precision: asked for by name, or chosen and said."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import torch

from segkit.errors import EnvironmentFault, OutOfMemory, UsageError, first_line

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(asked: str, local_rank: int = 0) -> torch.device:
    """The device `asked` for, or the best one there is for "auto"; raises EnvironmentFault SK-E002.

    local_rank   which of the machine's GPUs this process takes, where no number is asked for
    """
    if asked == "auto":
        if torch.cuda.is_available():
            asked = "cuda"
        elif torch.backends.mps.is_available():
            asked = "mps"
        else:
            asked = "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise UsageError(
            "SK-C009",
            f"'{asked}' is no device.",
            ("Did you mean 'cuda'? " if asked.lower() in ("gpu", "nvidia", "0", "1") else "")
            + "Write auto, cpu, cuda, cuda:0 or mps.",
        ) from error
    if device.type == "cuda":
        return _cuda(device, local_rank)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise EnvironmentFault(
            "SK-E002", f"'{asked}' was asked for, and this machine has no MPS.", "Use --device cpu."
        )
    if device.type not in ("cpu", "mps"):
        raise UsageError(
            "SK-C009", f"segkit does not run on '{asked}'.", "Write auto, cpu, cuda, cuda:0 or mps."
        )
    return device


def on_device(image_BCHW: torch.Tensor, device: torch.device, channels_last: bool) -> torch.Tensor:
    """A batch's images on the device, in the memory layout the model computes in."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return image_BCHW.to(device, non_blocking=True).contiguous(memory_format=layout)


def choose_precision(asked: str, device: torch.device) -> str:
    """fp32, bf16 or fp16; raises EnvironmentFault SK-E002 where the device cannot."""
    if asked == "auto":
        return "bf16" if _quick_at_bf16(device) else "fp32"
    if asked == "fp16" and device.type != "cuda":
        raise EnvironmentFault(
            "SK-E002",
            f"fp16 was asked for on {device.type}, which is slow or wrong at it.",
            "Use --precision bf16, or auto.",
        )
    return asked


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which a network computes in `precision`."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=TYPES[precision])


def describe(device: torch.device) -> str:
    """A device as a person would name it."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads)"
    return str(device)


def make_deterministic() -> None:
    """Makes operations that could differ between runs on one GPU an error."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)


def memory_in_use(device: torch.device) -> int | None:
    """The most memory used so far, in bytes: the GPU's where there is one, else the process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kibibytes if platform.system() == "Darwin" else kibibytes * 1024


def forget_peak(device: torch.device) -> None:
    """Has `memory_in_use` begin anew, on a GPU and on Linux."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif (file := Path("/proc/self/clear_refs")).exists():
        with suppress(OSError):  # some containers forbid it
            file.write_text("5")


def memory_to_be_had(device: torch.device, processes: int = 1) -> int:
    """Bytes that this process may hold: those that are free, and its own.

    processes   that share the machine's memory; a GPU is each one's own
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device))
    limits = [int(text) for file in _memory_limits() if (text := _text(file)).isdigit()]
    found = re.search(r"MemAvailable:\s+(\d+) kB", _text(Path("/proc/meminfo")))
    if found:
        own = _status_bytes("VmRSS") or 0
        limits.append(int(found[1]) * 1024 + processes * own)
        limits += [processes * each for each in _address_space()]
    elif hasattr(os, "sysconf"):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=4 * 2**30) // processes


def memory_for_tensors(device: torch.device, held: int, processes: int = 1) -> int:
    """Bytes that tensors may have: those that could be had now, and what they hold.

    held        bytes of the tensors that are there
    processes   as for `memory_to_be_had`
    """
    could_be_had = memory_to_be_had(device, processes)
    if device.type == "cuda":
        return could_be_had
    # Of a CPU process's own memory the interpreter and its libraries keep theirs.
    return max(0, could_be_had - (_status_bytes("VmRSS") or 0)) + held


def _address_space() -> list[int]:
    """What `ulimit -v` leaves this process, its own memory included, where there is a limit."""
    try:
        import resource
    except ImportError:  # Windows
        return []
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    mapped, own = _status_bytes("VmSize"), _status_bytes("VmRSS")
    if most == resource.RLIM_INFINITY or mapped is None or own is None:
        return []
    return [max(0, most - mapped) + own]


def _status_bytes(name: str) -> int | None:
    """What Linux says of this process: VmRSS, its memory; VmSize, its addresses."""
    found = re.search(rf"{name}:\s+(\d+) kB", _text(Path("/proc/self/status")))
    return int(found[1]) * 1024 if found else None


def _memory_limits() -> Iterator[Path]:
    """The files in which Linux says what a container, or a scheduler's job, may take."""
    root = Path("/sys/fs/cgroup")
    for line in ["0::/", "0:memory:/", *_text(Path("/proc/self/cgroup")).splitlines()]:
        _, kinds, place = line.split(":", 2)
        if "memory" in kinds.split(","):
            yield root / "memory" / place.lstrip("/") / "memory.limit_in_bytes"
        elif not kinds:
            yield root / place.lstrip("/") / "memory.max"


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def default_workers(device: torch.device, local_processes: int) -> int:
    """Processes that read data beside each training process: none on a CPU, which is busy."""
    if device.type == "cpu":
        return 0
    return max(0, min(8, (os.cpu_count() or 1) // local_processes - 1))


def _cuda(device: torch.device, local_rank: int) -> torch.device:
    if torch.version.cuda is None and torch.version.hip is None:
        raise EnvironmentFault(
            "SK-E002",
            f"'{device}' was asked for, and torch {torch.__version__} is built for CPUs only.",
            "python -m pip install --force-reinstall torch torchvision, or use --device cpu.",
        )
    count = torch.cuda.device_count()
    index = local_rank if device.index is None else device.index
    if index >= count:
        raise EnvironmentFault(
            "SK-E002",
            f"GPU number {index} was asked for, and torch finds {count or 'no'} GPU"
            f"{'s' * (count != 1)} on this machine.",
            "Check nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device cpu.",
        )
    return torch.device("cuda", index)


def _quick_at_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type != "cpu":
        return False
    # Without these instructions bf16 on a CPU is emulated, and slower than fp32.
    return any(
        getattr(torch.cpu, name, bool)()
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that the device's memory, or the machine's, did not suffice."""
    # On a CPU torch raises a plain RuntimeError.
    words = ("can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError | OutOfMemory) or (
        isinstance(error, RuntimeError) and any(each in str(error) for each in words)
    )


@contextmanager
def device_errors(device: torch.device, less_memory: str) -> Iterator[None]:
    """Turns running out of memory into an error that says what to do.

    less_memory   what helps
    Raises OutOfMemory SK-T002.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if ran_out_of_memory(error):
            raise OutOfMemory(
                "SK-T002",
                f"{describe(device)} has too little memory ({first_line(error)}).",
                less_memory,
            ) from error
        raise
