"""Takes out of a network what no map depends on: every parameter left gets a gradient."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn


def without_gradient(network: nn.Module, maps: Iterable[Tensor]) -> frozenset[str]:
    """Names of the parameters without influence on any of the maps."""
    total = torch.stack([each.float().sum() for each in maps]).sum()
    named = {name: p for name, p in network.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    return frozenset(name for name, g in zip(named, gradients, strict=True) if g is None)


def trim(network: nn.Module, unused: Collection[str], *, remove: bool) -> None:
    """Freezes the unused parameters, and removes the modules that hold nothing else."""
    left = set(unused)
    for name, parameter in network.named_parameters():
        if name in left:
            parameter.requires_grad_(False)
    if not remove:
        return
    for path, module in list(network.named_modules()):
        inside = {f"{path}.{name}" for name, _ in module.named_parameters()}
        if not path or not inside or not inside <= left:
            continue
        left -= inside
        parent, _, name = path.rpartition(".")
        empty = (
            type(module)() if isinstance(module, nn.ModuleList | nn.ModuleDict) else nn.Identity()
        )
        setattr(network.get_submodule(parent), name, empty)
