"""What a step amounts to on paper: counted on torch's meta device, where nothing is computed."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segkit.bench.records import Case, Counts


def counts_of_network(case: Case, model: nn.Module, loss: nn.Module | None) -> Counts:
    """Parameters, multiply-adds of the forward pass and FLOPs of the step, for the whole batch."""
    parameters = sum(p.numel() for p in model.parameters())
    try:
        forward, step = _flops(case, model, training=loss is not None)
    # Operations without a counterpart on the meta device: then nothing is claimed.
    except (NotImplementedError, RuntimeError):
        return Counts(parameters=parameters)
    return Counts(parameters=parameters, multiply_adds=forward // 2, flops=step)


def counts_of_upsampler(case: Case, upsampler: nn.Module) -> Counts:
    """Parameters, and the bytes of the smaller and the larger map, once read and once written."""
    itemsize = {"fp32": 4, "bf16": 2, "fp16": 2}[case.precision]
    larger = case.batch * case.channels * case.size**2 * itemsize
    once = larger + larger // 4
    return Counts(
        parameters=sum(p.numel() for p in upsampler.parameters()),
        fewest_bytes=once * (2 if case.mode == "train" else 1),
    )


def _flops(case: Case, model: nn.Module, *, training: bool) -> tuple[int, int]:
    bare = copy.deepcopy(model).to("meta")
    image_BCHW = torch.empty(case.batch, case.channels, case.size, case.size, device="meta")
    with FlopCounterMode(display=False) as counter:
        if not training:
            with torch.no_grad():
                bare(image_BCHW)
            return counter.get_total_flops(), counter.get_total_flops()
        logits_BKHW = bare(image_BCHW)
        forward = counter.get_total_flops()
        logits_BKHW.backward(torch.empty_like(logits_BKHW))
        return forward, counter.get_total_flops()
