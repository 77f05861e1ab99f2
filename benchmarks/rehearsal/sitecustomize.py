"""A pretended GPU for `python benchmarks/on_gpu.py --rehearse`: CUDA's calls, answered by the CPU.

A folder on PYTHONPATH whose file of this name Python imports at its start. As soon as torch is
imported, torch.cuda answers as one GPU would, and tensors meant for it lie on the CPU. Nothing that
it makes is a measurement: it shows that every line for a GPU can be run, not what it would find.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

# So little that nothing large is tried.
MEMORY_BYTES, TAKEN_BYTES = 6 * 2**30, 10**8


class _WhenTorchComes(MetaPathFinder):
    """Finds torch as everybody does, and pretends once it has been loaded."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torch")
        if spec is not None and spec.loader is not None:
            spec.loader = _Pretending(spec.loader)
        return spec


class _Pretending(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        pretend(module)


def pretend(torch: Any) -> None:
    """Makes torch.cuda one GPU, and sends its tensors to the CPU."""
    properties = SimpleNamespace(
        **{"name": "a pretended GPU", "total_memory": MEMORY_BYTES, "uuid": "0"},
        **{"major": 9, "minor": 0, "multi_processor_count": 1},
    )
    answers = {
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "get_device_properties": properties,
        "get_device_name": properties.name,
        "get_device_capability": (9, 0),
        "is_bf16_supported": True,
        "is_current_stream_capturing": False,
        "max_memory_allocated": TAKEN_BYTES,
        "max_memory_reserved": 2 * TAKEN_BYTES,
        "memory_allocated": TAKEN_BYTES,
        "mem_get_info": (MEMORY_BYTES, MEMORY_BYTES),
        **dict.fromkeys(("synchronize", "empty_cache", "reset_peak_memory_stats", "set_device")),
        **dict.fromkeys(("set_rng_state", "manual_seed", "manual_seed_all")),
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, _answering(answer))
    torch.cuda.get_rng_state = lambda *args: torch.get_rng_state()
    torch.cuda.Event, torch.cuda.Stream, torch.cuda.CUDAGraph = _Event, _Stream, _Graph
    torch.cuda.current_stream = torch.accelerator.current_stream = _Stream
    torch.cuda.stream = torch.cuda.graph = _inside
    torch.cuda.memory._record_memory_history = _answering(None)
    torch.cuda.memory._snapshot = _answering({"device_traces": [[]]})
    _redirect(torch)


def _redirect(torch: Any) -> None:
    """From here on, a device of CUDA among an operation's arguments is the CPU."""
    from torch.overrides import TorchFunctionMode

    def elsewhere(value: Any) -> Any:
        of_cuda = isinstance(value, torch.device) and value.type == "cuda"
        of_cuda = of_cuda or (isinstance(value, str) and value.partition(":")[0] == "cuda")
        return torch.device("cpu") if of_cuda else value

    class Redirection(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func is torch.Tensor.pin_memory:
                return args[0]
            if func is torch.device:
                return func(*args, **(kwargs or {}))
            given = {name: elsewhere(value) for name, value in (kwargs or {}).items()}
            return func(*map(elsewhere, args), **given)

    Redirection().__enter__()  # type: ignore[no-untyped-call]


def _answering(answer: Any) -> Any:
    return lambda *args, **kwargs: answer


@contextlib.contextmanager
def _inside(*args: Any, **kwargs: Any) -> Any:
    yield


class _Event:
    def __init__(self, **options: Any) -> None:
        self.moment = 0.0

    def record(self, *stream: Any) -> None:
        self.moment = time.perf_counter()

    def synchronize(self) -> None:
        """A CPU has done its work when the call returns."""

    def elapsed_time(self, other: _Event) -> float:
        """Milliseconds."""
        return 1e3 * (other.moment - self.moment)


class _Stream:
    def __init__(self, *args: Any) -> None:
        """Work on it is done at once."""

    def is_capturing(self) -> bool:
        return False

    def wait_stream(self, other: _Stream) -> None:
        """Nothing to wait for."""


class _Graph:
    def replay(self) -> None:
        """What was recorded was done when it was recorded."""


sys.meta_path.insert(0, _WhenTorchComes())
