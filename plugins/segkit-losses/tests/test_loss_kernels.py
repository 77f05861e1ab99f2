"""The CUDA kernels in Triton's interpreter, on the CPU, against float64; and compiled for a GPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

# Triton reads the variable when it is imported, so this runs in an interpreter of its own.
AGAINST_FLOAT64 = """
import torch
from segkit_losses.kernels import add_up_on_device, descend_on_device
from segkit_losses.sums import plain_sums
from segkit_losses.tiles import Wanted

torch.manual_seed(0)
WANTED = [Wanted(True, False, True, None), Wanted(True, True, False, 0.5),
          Wanted(False, False, True, None), Wanted(False, False, False, 2.0)]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 1e-2}
CASES = [(each, classes, torch.float32) for each in WANTED for classes in (2, 21)]
CASES += [(WANTED[1], 5, torch.float64), (WANTED[0], 5, torch.bfloat16)]
for wanted, classes, dtype in CASES:
    for layout, ignored in (("contiguous", 255), ("channels_last", -1), ("cut", None)):
        logits = (torch.randn(2, classes, 12, 14) * 2).to(dtype)
        if layout == "channels_last":
            logits = logits.contiguous(memory_format=torch.channels_last)
        if layout == "cut":
            logits = logits[..., :8, :13]
        target = torch.randint(0, classes, (2, *logits.shape[2:]))
        if ignored is not None:
            target[torch.rand(target.shape) < 0.2] = ignored
            logits[(target == ignored)[:, None].expand_as(logits)] = float("nan")
        weights = torch.randn(6, classes, dtype=torch.float64)
        sums, stray = add_up_on_device(logits, target, wanted, ignored)
        again, _ = add_up_on_device(logits, target, wanted, ignored)
        slopes = descend_on_device(weights, logits, target, wanted, ignored)
        exact = logits.double().requires_grad_()
        expected = plain_sums(exact, target, wanted, ignored)
        (gradient,) = torch.autograd.grad(expected, exact, weights)
        for found, reference, tolerance in (
            (sums, expected, min(TOLERANCE[dtype], 2e-6)), (slopes, gradient, TOLERANCE[dtype])
        ):
            error = (found.double() - reference).abs().max() / reference.abs().max()
            assert error <= tolerance, (wanted, classes, dtype, layout, error)
        assert stray == 0 and torch.equal(sums, again) and slopes.dtype == dtype

logits, target = torch.zeros(1, 3, 2, 2), torch.tensor([[[0, 3], [-7, 255]]])
assert add_up_on_device(logits, target, WANTED[0], 255)[1] == 2
certain = torch.tensor([1000.0, -1000.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
for wanted in WANTED:
    weights = torch.ones(6, 3)
    assert add_up_on_device(certain, target.clamp(0, 2), wanted, None)[0].isfinite().all()
    assert descend_on_device(weights, certain, target.clamp(0, 2), wanted, None).isfinite().all()
print("agreed")
"""

COMPILED = """
import triton
from segkit_losses import kernels
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

SETTINGS = dict(IGNORES=True, OVERLAPS=True, SQUARES=True, ENTROPIES=True, FOCUSES=True,
                GAMMA=2.0, DOUBLE=False, FLAT=True, BLOCK_K=32, BLOCK_N=64)
for kernel in (kernels._add_up, kernels._descend):
    kinds = {"logits": "*bf16", "targets": "*i64", "strays": "*i64"}
    kinds |= dict.fromkeys(("sums", "weights"), "*fp32") | {"slopes": "*bf16"}
    names = [each.name for each in kernel.params]
    signature = {n: "constexpr" if n in SETTINGS else kinds.get(n, "i32") for n in names}
    constants = {(names.index(n),): value for n, value in SETTINGS.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
    assert "atom" not in made.asm["ptx"]
print("compiled")
"""


def said_by(program: str, **variables: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | variables
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_kernels_give_sums_and_gradients_of_float64():
    assert said_by(AGAINST_FLOAT64, TRITON_INTERPRET="1") == "agreed"


def test_kernels_compile_for_a_gpu_without_atomic_operations():
    assert said_by(COMPILED) == "compiled"
