"""torch.compile for training steps."""

from __future__ import annotations

import os
import shutil
from typing import cast

import torch
from torch import nn

from segkit.errors import EnvironmentFault, UsageError

COMPILERS = ("g++", "clang++", "c++", "cl")


def compiled(network: nn.Module, how: str) -> nn.Module:
    """The network as torch.compile makes it; the very network where `how` is no.

    how   no, yes or graph: replayed as a CUDA graph

    Crops are of one size, so that one capture serves a training; where a network meets more sizes,
    each has its own, up to torch._dynamo.config.recompile_limit of them.
    """
    if how == "no":
        return network
    mode = "reduce-overhead" if how == "graph" else None
    return cast(nn.Module, torch.compile(network, mode=mode, dynamic=False))


def refuse_to_compile(how: str, device: torch.device) -> None:
    """Before minutes are spent.

    Raises UsageError SK-C009 for graphs without CUDA, EnvironmentFault SK-E003 without a compiler.
    """
    if how == "graph" and device.type != "cuda":
        raise UsageError(
            "SK-C009",
            f"--compile graph replays CUDA graphs, and this training runs on {device}.",
            "Use --compile no, which is the quickest on a CPU, or --device cuda.",
        )
    if how == "no" or device.type != "cpu":
        return
    if not any(map(shutil.which, (os.environ.get("CXX", COMPILERS[0]), *COMPILERS))):
        raise EnvironmentFault(
            "SK-E003",
            "--compile needs a C++ compiler on a CPU, and there is none.",
            "Install one (Debian, Ubuntu: apt install g++), or leave --compile out.",
        )
