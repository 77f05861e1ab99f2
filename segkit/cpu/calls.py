"""What each module of a network is called with, for one example image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Call:
    """Copies of what a module was given and of what it returned."""

    args: tuple[Any, ...]
    named: Mapping[str, Any]
    returned: Tensor

    def reproduced_by(self, module: nn.Module, tolerance: float) -> bool:
        """Whether a module returns the same: norm of the difference over the norm, at most."""
        found: Tensor = module(*_copied(self.args), **_copied(dict(self.named)))
        if found.shape != self.returned.shape:
            return False
        expected, difference = self.returned.double(), found.double() - self.returned.double()
        return bool(difference.norm() <= tolerance * expected.norm())


class Calls:
    """One forward pass, watched.

    counts    how often each module was called: some are only held, and their parts called
    examples  the first call of each module with parts of its own that returned one tensor
    fed_by    the module whose very result another module was given
    """

    def __init__(self, network: nn.Module, image_BCHW: Tensor) -> None:
        self.counts: Counter[nn.Module] = Counter()
        self.examples: dict[nn.Module, Call] = {}
        self.fed_by: dict[nn.Module, nn.Module] = {}
        self._given: dict[nn.Module, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        # With the tensors themselves: another one would get the number of one that is gone.
        self._results: dict[int, tuple[Tensor, nn.Module]] = {}
        hooks = []
        for module in network.modules():
            hooks.append(module.register_forward_pre_hook(self._called, with_kwargs=True))
            hooks.append(module.register_forward_hook(self._returned))
        try:
            network(image_BCHW)
        finally:
            for hook in hooks:
                hook.remove()
            self._given.clear()
            self._results.clear()

    def _called(self, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.counts.update([module])
        if args and id(args[0]) in self._results:
            self.fed_by[module] = self._results[id(args[0])][1]
        if self.counts[module] == 1 and any(module.children()):
            self._given[module] = _copied(args), _copied(named)

    def _returned(self, module: nn.Module, args: tuple[Any, ...], returned: Any) -> None:
        if not isinstance(returned, Tensor):
            return
        self._results[id(returned)] = returned, module
        if module in self._given:
            self.examples[module] = Call(*self._given.pop(module), returned.clone())


def _copied(tree: Any) -> Any:
    """Later modules may change a map in place."""
    return torch.utils._pytree.tree_map_only(Tensor, Tensor.clone, tree)
