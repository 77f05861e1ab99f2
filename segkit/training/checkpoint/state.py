"""The parts of a training as plain tensors and JSON, and back: optimizer and random generators."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from segkit.distributed import Group
from segkit.errors import ModelFileError


def optimizer_tensors(optimizer: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimizer's state as `parameter/what`, such as `head.weight/exp_avg`."""
    tensors = {}
    for name, parameter in model.named_parameters():
        for what, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}/{what}"] = torch.as_tensor(value)
    return tensors


def restore_optimizer(
    optimizer: Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Puts back what `optimizer_tensors` took out, in place."""
    parameters = dict(model.named_parameters())
    for key, saved in tensors.items():
        name, _, what = key.rpartition("/")
        parameter = parameters[name]
        if saved.shape == parameter.shape:
            # Laid out as the parameter: fused kernels walk both in the order of memory.
            value = torch.empty_like(parameter, dtype=saved.dtype).copy_(saved)
        else:
            value = saved.to(parameter.device if optimizer.defaults.get("fused") else "cpu")
        optimizer.state[parameter][what] = value


def random_tensors(group: Group) -> dict[str, Tensor]:
    """Every process's generators of torch, CUDA, numpy and Python, as bytes and integers."""
    own = {
        "torch": torch.get_rng_state(),
        "numpy": _numpy_state(),
        "python": torch.tensor(_python_state(), dtype=torch.int64),
    }
    if group.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(group.device)
    return {
        f"rank{rank}/{name}": state
        for name, vector in own.items()
        for rank, state in enumerate(group.gather(vector))
    }


def restore_random(group: Group, tensors: Mapping[str, Tensor]) -> None:
    """Sets this process's generators as `random_tensors` found them."""
    own = {
        name.removeprefix(f"rank{group.rank}/"): state
        for name, state in tensors.items()
        if name.startswith(f"rank{group.rank}/")
    }
    if not own:  # more processes than before: theirs stay as seeded
        return
    torch.set_rng_state(own["torch"])
    numpy_state = own["numpy"].numpy()
    np.random.set_state(
        ("MT19937", numpy_state[:624].astype(np.uint32), int(numpy_state[624]), 0, 0.0)
    )
    version, *numbers = own["python"].tolist()
    random.setstate((version, tuple(numbers), None))
    if "cuda" in own and group.device.type == "cuda":
        torch.cuda.set_rng_state(own["cuda"], group.device)


def seed_everything(seed: int) -> None:
    """Seeds torch, numpy and Python, each process by its own number."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Fills a module in place; raises ModelFileError SK-M002 where the tensors do not fit."""
    try:
        module.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        raise ModelFileError(
            "SK-M002",
            f"the checkpoint's {what} does not fit ({str(error).splitlines()[-1].strip()}).",
            "Continue with the versions of the plugins that the run was started with.",
        ) from error


def _numpy_state() -> Tensor:
    _, keys, position, *_ = np.random.get_state(legacy=True)
    return torch.from_numpy(np.append(np.asarray(keys, dtype=np.int64), position))


def _python_state() -> list[Any]:
    version, numbers, _ = random.getstate()
    return [version, *numbers]
