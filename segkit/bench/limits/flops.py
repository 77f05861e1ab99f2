"""FLOPs of an operation: PyTorch's formulas, and our own where those are wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten


def flops_formula(operation: Any) -> Callable[..., int] | None:
    """What computes an operation's FLOPs from its arguments and `out_val`; None where it has none.

    A multiply-add is two FLOPs. Convolutions, matrix products and attention have a formula.
    """
    packet = operation._overloadpacket
    own = OWN.get(packet)
    return own if own is not None else flop_registry.get(packet)


def convolution_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    wanted: Sequence[bool],
    *,
    out_val: Any = None,
) -> int:
    """FLOPs of a convolution's backward pass, for the gradients wanted of (input, weight, bias).

    Each multiply-add of the forward pass has one in the gradient of the input and one in that of
    the weight. The weight's shape holds the groups: (C_out, C_in / groups, ...), transposed
    (C_in, C_out / groups, ...). Padding counts as pixels, as in the forward pass. torch's own
    formula (torch.utils.flop_counter.conv_backward_flop, seen in 2.15) leaves the groups out of the
    weight's gradient.
    """
    pixels = (x if transposed else gradient).shape[2:]
    multiply_adds = x.shape[0] * prod(pixels) * weight.numel()
    return 2 * multiply_adds * (bool(wanted[0]) + bool(wanted[1]))


OWN: dict[Any, Callable[..., int]] = {aten.convolution_backward: convolution_backward}
