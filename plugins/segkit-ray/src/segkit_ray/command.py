"""What runs on a node of the cluster: one command line, and nothing else."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

SECONDS_BETWEEN_LOOKS = 0.2
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


def run_command(
    command: Sequence[str], folder: str, log: str, environment: Mapping[str, str]
) -> tuple[int, str]:
    """The command's exit status, as a shell gives it, and the address of the node it ran on."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with Path(log).open("ab") as opened:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=opened,
            stderr=opened,
            preexec_fn=_dying_with_parent(),
        )
        try:
            # Ray cancels by an exception between two instructions: a plain wait would never see it.
            while process.poll() is None:
                time.sleep(SECONDS_BETWEEN_LOOKS)
        finally:
            if process.poll() is None:
                # It is asked to end: a training saves.
                process.terminate()
            status = process.wait()
    node: str = import_module("ray.util").get_node_ip_address()
    return (status if status >= 0 else 128 - status), node


def _dying_with_parent() -> Callable[[], None] | None:
    """Run in the new process: the system kills it when this one dies (Linux only).

    Where Ray lost a worker it runs the command again elsewhere: two may not work in one folder.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(DIE_WITH_PARENT, int(signal.SIGKILL))
