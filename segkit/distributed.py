"""One process or many: what a training asks of the others, on PyTorch's own distributed engine.

`segkit train --devices 2` starts the processes by PyTorch's own launcher;
`torchrun --nproc-per-node 2 -m segkit train ...` does too, on several machines as well. Rank 0
writes and prints.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from segkit.device import choose_device
from segkit.errors import StorageError, UsageError

PEER_MINUTES = 10.0
# How PyTorch's engines say that another process is gone or does not answer.
LOST = (
    "Application timeout",
    "Connection closed by peer",
    "Connection reset by peer",
    "Timed out waiting",
    "timed out",
)
# A process that is asked to end saves after its step under way, which may be long.
SECONDS_TO_SAVE = 600
SECONDS_BETWEEN_LOOKS = 1.0
# Exit statuses of what may go well another time: an unforeseen fault, a lost reader or disk.
CRASHED = (1, 8)
ASKED_TO_END = (128 + signal.SIGINT, 128 + signal.SIGTERM)


@dataclass(frozen=True)
class Group:
    """This process among its peers.

    rank, world_size   number of this process and of all
    local_processes    processes on this machine
    device             where this process computes
    """

    rank: int
    world_size: int
    local_processes: int
    device: torch.device

    @property
    def writes(self) -> bool:
        return self.rank == 0

    def share_of(self, batch: int) -> int:
        """Images of a `batch` for each process; raises UsageError SK-C009 for a remainder."""
        if batch % self.world_size:
            raise UsageError(
                "SK-C009",
                f"a batch of {batch} cannot be shared by {self.world_size} processes.",
                f"Use a multiple of {self.world_size}.",
            )
        return batch // self.world_size

    def parallel(self, model: nn.Module, *, unused: bool) -> nn.Module:
        """The model as training calls it: gradients are averaged over all processes.

        unused   whether some parameters get no gradient, which costs a search in every step
        """
        if self.world_size == 1:
            return model
        return DistributedDataParallel(
            model,
            device_ids=[self.device.index] if self.device.type == "cuda" else None,
            find_unused_parameters=unused,
        )

    def shares_norms(self, asked: str) -> bool:
        """Whether batch norms see the whole batch: "auto" and "on" where PyTorch can, on GPUs.

        Raises UsageError SK-C009 where it cannot and "on" asks for it.
        """
        if self.world_size == 1 or asked == "off":
            return False
        if asked == "on" and self.device.type != "cuda":
            raise UsageError(
                "SK-C009",
                f"sync_norms is on, and {self.world_size} processes compute on {self.device.type}: "
                "PyTorch synchronises batch norms on GPUs alone.",
                "Leave --sync-norms out, or train in one process.",
            )
        return self.device.type == "cuda"

    def sum_(self, tensor: Tensor) -> None:
        """Adds the tensor up over all processes, in place."""
        if self.world_size == 1:
            return
        summed = tensor.to(self.device)
        dist.all_reduce(summed)
        tensor.copy_(summed)

    def start_maximum(self, value: int) -> Callable[[], int]:
        """Asks for the largest `value` of all processes; the answer, when called, waits for it."""
        if self.world_size == 1:
            return lambda: value
        largest = torch.tensor([value], device=self.device)
        work = dist.all_reduce(largest, op=dist.ReduceOp.MAX, async_op=True)

        def answer() -> int:
            work.wait()
            return int(largest)

        return answer

    def share_(self, module: nn.Module) -> None:
        """Gives every process rank 0's tensors, in place."""
        if self.world_size == 1:
            return
        for tensor in module.state_dict().values():
            shared = tensor.detach().to(self.device)
            dist.broadcast(shared, src=0)
            tensor.copy_(shared)

    def gather(self, vector: Tensor) -> list[Tensor]:
        """Every process's vector, of one length and type, in rank order."""
        if self.world_size == 1:
            return [vector]
        sent = vector.to(self.device)
        received = [torch.empty_like(sent) for _ in range(self.world_size)]
        dist.all_gather(received, sent)
        return [each.to(vector.device) for each in received]

    def wait(self) -> None:
        """Returns when every process has come here."""
        if self.world_size > 1:
            dist.barrier()

    @contextmanager
    def first(self) -> Iterator[None]:
        """Rank 0 goes first, so that what it downloads the others find on the machine."""
        if not self.writes:
            self.wait()
        yield
        if self.writes:
            self.wait()


@contextmanager
def process_group(device: str = "auto", minutes: float = PEER_MINUTES) -> Iterator[Group]:
    """Joins the processes that torchrun started, or is a group of one; may be nested.

    minutes   for which another process may leave this one waiting
    Raises StorageError SK-S006 where it does so for longer, or is gone.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    chosen = choose_device(device, local_rank)
    if world_size == 1:
        yield Group(0, 1, 1, chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    joins = not dist.is_initialized()
    if joins:
        _end_with_the_launcher()
        backend = "nccl" if chosen.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(minutes=minutes))
    try:
        local_processes = int(os.environ.get("LOCAL_WORLD_SIZE", str(world_size)))
        yield Group(dist.get_rank(), world_size, local_processes, chosen)
    except RuntimeError as error:
        if not any(each in str(error) for each in LOST):
            raise
        _wake_peers()
        raise StorageError(
            "SK-S006",
            f"another process of the {world_size} is gone, or has left this one waiting for "
            f"{minutes:g} minutes.",
            "What it says itself, or `dmesg`, tells why; --timeout waits longer. `segkit train "
            "--resume RUN` goes on from the last checkpoint.",
        ) from error
    finally:
        if joins:
            dist.destroy_process_group()


def launch(
    processes: int,
    arguments: Sequence[str],
    restarts: int = 0,
    restarting: Callable[[int], None] = lambda status: None,
) -> int:
    """Runs `segkit ARGUMENTS` in so many processes here; the status of the first to fail.

    SIGINT and SIGTERM are passed on to all of them, and SIGUSR1 and SIGHUP too.

    restarts     how often all are started again where one was killed or crashed; not where it was
                 asked to end, or refused what it was to do: it would again
    restarting   is told the status before each
    """
    for _ in range(restarts):
        status = _launched(processes, arguments)
        if status not in CRASHED and (status <= 128 or status in ASKED_TO_END):
            return status
        restarting(status)
    return _launched(processes, arguments)


def _launched(processes: int, arguments: Sequence[str]) -> int:
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SECONDS_TO_SAVE))
    # Each process says itself what failed.
    os.environ.setdefault("LOGLEVEL", "CRITICAL")
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    settings = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="segkit",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        signals_to_handle="SIGINT,SIGTERM",
    )
    for name in ("SIGUSR1", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _pass_on)
    try:
        elastic_launch(settings, sys.executable)("-m", "segkit", *arguments)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0


def _pass_on(number: int, frame: object) -> None:
    """Sends a signal to this process's children."""
    for child in _children(os.getpid()):
        os.kill(child, number)


def _wake_peers() -> None:
    """Has processes of the same launcher that were stopped go on, to find that they are to end."""
    if "TORCHELASTIC_RUN_ID" in os.environ and hasattr(os, "getppid"):
        for peer in _children(os.getppid()):
            with suppress(OSError):
                os.kill(peer, signal.SIGCONT)


def _children(process: int) -> list[int]:
    """A process's children, where the system lists them (Linux)."""
    files = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


def _end_with_the_launcher() -> None:
    """Asks this process to save and end when the one that started it has died."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or not hasattr(os, "getppid"):
        return
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="watches the launcher", daemon=True).start()
