"""How large a component is: parameters, shapes and multiply-adds, found without computing anything.

Modules are built and run on torch's meta device, which knows shapes and no numbers; what cannot run
there runs on the CPU. Multiply-adds are counted by torch.utils.flop_counter: convolutions, matrix
products and attention, half of what it calls FLOPs (one multiply-add is two of them).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from segkit.errors import EnvironmentFault, UsageError
from segkit.interfaces import EncoderTraits


def built_without_memory(build: Callable[[], Any]) -> Any:
    """The component on the meta device, or on the CPU where its constructor needs numbers."""
    try:
        with torch.device("meta"):
            return build()
    except (UsageError, EnvironmentFault):
        raise
    except Exception:
        # Whatever the constructor could not do without numbers; a real fault shows again here.
        return build()


def parameters_of(module: Any) -> int:
    """The trainable numbers, shared ones once."""
    return sum(p.numel() for p in module.parameters()) if isinstance(module, nn.Module) else 0


def run_counted(module: Any, *inputs: Any, **named: Any) -> tuple[Any, int]:
    """What the module returns in evaluation mode, and its multiply-adds."""
    if isinstance(module, nn.Module):
        module.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        returned = module(*inputs, **named)
    return returned, counter.get_total_flops() // 2


def example_image(encoder: Any, channels: int, height: int, width: int) -> Tensor:
    """An image of zeros on the encoder's device, enlarged to the next size that it takes."""
    lost = 2 * EncoderTraits.of(encoder).margin
    deepest = encoder.strides[-1]
    sides = (side + (lost - side) % deepest for side in (height, width))
    return torch.zeros(1, channels, *sides, device=device_of(encoder))


def device_of(module: Any) -> torch.device:
    """Where a module's tensors are; the CPU for one that has none."""
    if isinstance(module, nn.Module):
        for tensor in (*module.parameters(), *module.buffers()):
            return tensor.device
    return torch.device("cpu")
