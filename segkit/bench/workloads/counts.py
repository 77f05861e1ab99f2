"""What a step of a part amounts to on paper."""

from __future__ import annotations

from torch import nn

from segkit.bench.records.case import Case
from segkit.bench.records.row import Counts


def counts_of_upsampler(case: Case, upsampler: nn.Module) -> Counts:
    """Parameters, and the bytes of the smaller and the larger map, once read and once written."""
    itemsize = {"fp32": 4, "bf16": 2, "fp16": 2}[case.precision]
    larger = case.batch * case.channels * case.size**2 * itemsize
    once = larger + larger // 4
    return Counts(
        parameters=sum(p.numel() for p in upsampler.parameters()),
        fewest_bytes=once * (2 if case.mode == "train" else 1),
    )
