"""The gate before any speed is shown: the output beside that of the same weights in float64."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from segkit.bench.records.case import Case
from segkit.bench.records.row import Correctness

# Norm of the difference over norm of the reference. Rounding to p bits errs by 2**-p at each of the
# network's operations; networks of 120 layers were seen at a tenth of these or less.
TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 1e-1}
# On CUDA, convolutions in fp32 use TF32, 10 bits of mantissa, unless told otherwise.
TOLERANCE_TF32 = 1e-2
# Gradients pass through the network twice, turn at every kink of a ReLU, and batch normalisation of
# few values amplifies: seen 1e-3 in fp32 and 0.27 in bf16. One of no relation errs by 1.4.
GRADIENT_TOLERANCE = {"fp32": 1e-2, "fp16": 0.3, "bf16": 0.7}
GRADIENT_TOLERANCE_TF32 = 0.3
# A loss or an upsampler alone is a few operations: seen 1e-6 and 6e-3, gradients too; and 1e-5 of
# the gradient of a loss that sorts, where two errors are too near one another to be told apart.
PART_TOLERANCE = {"fp32": 3e-5, "fp16": 5e-3, "bf16": 2e-2}
LARGEST_SIDE, LARGEST_BATCH = 96, 2


def tolerance(case: Case, what: str = "logits") -> float:
    """What it may differ by, relative."""
    tf32 = case.precision == "fp32" and case.device.startswith("cuda")
    if case.task in ("loss", "upsampler"):
        return TOLERANCE_TF32 if tf32 else PART_TOLERANCE[case.precision]
    if what == "gradient":
        return GRADIENT_TOLERANCE_TF32 if tf32 else GRADIENT_TOLERANCE[case.precision]
    return TOLERANCE_TF32 if tf32 else TOLERANCE[case.precision]


def relative_error(output: Iterable[Tensor], reference: Iterable[Tensor]) -> float:
    """Over all tensors together; NaN or infinity on either side is an infinite error."""
    difference, norm = 0.0, 0.0
    for found, expected in zip(output, reference, strict=True):
        expected = expected.double()
        difference += float((found.to(expected) - expected).square().sum())
        norm += float(expected.square().sum())
    if not (difference < float("inf") and norm < float("inf")):
        return float("inf")
    if norm == 0:
        return 0.0 if difference == 0 else float("inf")
    return (difference / norm) ** 0.5


def in_float64(module: nn.Module) -> nn.Module:
    """A copy of the module with the same weights in float64, in plain layout."""
    return copy.deepcopy(module).double().to(memory_format=torch.contiguous_format)


def without_chance(module: nn.Module) -> None:
    """Switches off layers that draw random numbers: they cannot draw the same in both copies."""
    for layer in module.modules():
        if "drop" in type(layer).__name__.lower():
            layer.eval()


def checked_shape(case: Case) -> tuple[int, int]:
    """Images and side that the gate uses: small, unless a graph was built for the case's own."""
    if case.compile != "no":
        return case.batch, case.size
    return min(case.batch, LARGEST_BATCH), min(case.size, LARGEST_SIDE)


def verdict(case: Case, errors: dict[str, float], shape: tuple[int, ...]) -> Correctness:
    """The worst of the errors beside its tolerance."""
    allowed = {what: tolerance(case, what) for what in errors}
    worst = max(errors, key=lambda what: errors[what] / allowed[what])
    size = " x ".join(str(side) for side in shape)
    return Correctness(
        error=errors[worst],
        tolerance=allowed[worst],
        against=f"{worst} of the same weights in float64, at {size}",
    )
