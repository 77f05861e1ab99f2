"""One-pass sums on a CUDA device, in Triton: a tile of all classes and some pixels in registers.

Each program walks over its own tiles and writes its own sums, which torch then adds in float64: no
atomic additions, so the same inputs give the same bits. Strides are arguments, so either order of
memory is read as it lies. Nothing waits for the device.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from segkit_losses.tiles import ROWS, Wanted

# Logits in a tile: 16 a thread with 4 warps, and as many for each kind of sum, in registers.
TILE = 2048
MOST_PIXELS = 256
# Programs a multiprocessor: enough to hide the memory's latency, few enough for short sums.
PROGRAMS = 8
# In Triton's interpreter, which knows no multiprocessors.
PROGRAMS_INTERPRETED = 4


def add_up_on_device(
    logits_BKHW: Tensor, target_BHW: Tensor, wanted: Wanted, ignore_index: int | None
) -> tuple[Tensor, Tensor]:
    """(sums_RK float64, stray labels), as segkit_losses.host.add_up."""
    launch = _Launch(logits_BKHW, target_BHW, wanted, ignore_index)
    sums_PRK = logits_BKHW.new_zeros(launch.programs, ROWS, launch.classes, dtype=launch.dtype)
    stray_P = torch.zeros(launch.programs, dtype=torch.int64, device=logits_BKHW.device)
    launch(_add_up, launch.logits, launch.targets, sums_PRK, stray_P, *launch.numbers)
    return sums_PRK.double().sum(dim=0), stray_P.sum()


def descend_on_device(
    weights_RK: Tensor,
    logits_BKHW: Tensor,
    target_BHW: Tensor,
    wanted: Wanted,
    ignore_index: int | None,
) -> Tensor:
    """The gradient of (weights_RK * sums_RK).sum() in the logits."""
    launch = _Launch(logits_BKHW, target_BHW, wanted, ignore_index)
    slopes_BKHW = torch.empty_like(logits_BKHW)
    slopes = slopes_BKHW.view(launch.logits.shape) if launch.flat else slopes_BKHW
    weights_RK = weights_RK.to(launch.dtype).contiguous()
    launch(
        _descend,
        *(launch.logits, launch.targets, weights_RK, slopes),
        *launch.numbers,
        *slopes.stride(),
    )
    return slopes_BKHW


class _Launch:
    """How a kernel is started on these inputs.

    logits, targets   as one row of pixels an image where their strides allow it (flat)
    numbers           sizes, strides and the ignored label, in the kernels' order
    """

    def __init__(
        self, logits: Tensor, target: Tensor, wanted: Wanted, ignore_index: int | None
    ) -> None:
        images, self.classes, height, width = logits.shape
        self.dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        self.flat = _flattens(logits) and _flattens(torch.empty_like(logits, device="meta"))
        self.logits, self.targets = logits, target
        if self.flat:
            self.logits = logits.view(images, self.classes, 1, height * width)
            self.targets = target.reshape(images, 1, height * width)
            height, width = 1, height * width
        self.block_k = triton.next_power_of_2(self.classes)
        self.block_n = max(1, min(MOST_PIXELS, TILE // self.block_k))
        tiles = images * triton.cdiv(height * width, self.block_n)
        self.programs = max(1, min(tiles, _programs(logits.device)))
        self.numbers = (
            *(images, self.classes, height, width, 0 if ignore_index is None else ignore_index),
            *self.logits.stride(),
            *self.targets.stride(),
        )
        self.settings: dict[str, Any] = {
            "IGNORES": ignore_index is not None,
            "OVERLAPS": wanted.overlap,
            "SQUARES": wanted.squared,
            "ENTROPIES": wanted.entropy,
            "FOCUSES": wanted.gamma is not None,
            "GAMMA": wanted.gamma or 0.0,
            "DOUBLE": self.dtype == torch.float64,
            "FLAT": self.flat,
            "BLOCK_K": self.block_k,
            "BLOCK_N": self.block_n,
        }

    def __call__(self, kernel: Any, *arguments: Any) -> None:
        device = self.logits.device
        with torch.cuda.device(device if device.type == "cuda" else -1):
            kernel[(self.programs,)](*arguments, **self.settings, num_warps=4)


@triton.jit
def _tile(
    logits, targets, tile, images, classes, height, width, ignored,
    stride_b, stride_k, stride_h, stride_w, label_b, label_h, label_w,
    IGNORES: tl.constexpr, DOUBLE: tl.constexpr, FLAT: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """A tile after its one exponential; classes that do not exist have none."""
    tiles_an_image = tl.cdiv(height * width, BLOCK_N)
    image = (tile // tiles_an_image).to(tl.int64)
    n = (tile % tiles_an_image) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside_N = n < height * width
    if FLAT:
        at_N = n.to(tl.int64) * stride_w
        label_at_N = n.to(tl.int64) * label_w
    else:
        at_N = (n // width).to(tl.int64) * stride_h + (n % width) * stride_w
        label_at_N = (n // width).to(tl.int64) * label_h + (n % width) * label_w
    label_N = tl.load(targets + image * label_b + label_at_N, mask=inside_N, other=0).to(tl.int64)
    valid_N = inside_N
    if IGNORES:
        valid_N = valid_N & (label_N != ignored)
    k = tl.arange(0, BLOCK_K)
    real_KN = (k < classes)[:, None] & valid_N[None, :]
    at_KN = image * stride_b + k.to(tl.int64)[:, None] * stride_k + at_N[None, :]
    z_KN = tl.load(logits + at_KN, mask=real_KN, other=0)
    z_KN = z_KN.to(tl.float64) if DOUBLE else z_KN.to(tl.float32)
    z_KN = tl.where((k < classes)[:, None], z_KN, float("-inf"))
    truth_KN = (k.to(tl.int64)[:, None] == label_N[None, :]) & real_KN
    largest_N = tl.max(z_KN, axis=0)
    # tl.max may pass over NaN; the sum of the exponentials does not.
    raised_KN = tl.exp(z_KN - largest_N[None, :])
    total_N = tl.sum(raised_KN, axis=0)
    depth_N = largest_N - tl.sum(tl.where(truth_KN, z_KN, 0.0), axis=0)
    return image, at_N, label_N, inside_N, valid_N, truth_KN, raised_KN, total_N, depth_N


@triton.jit
def _missed(truth_KN, raised_KN, total_N):
    """1 - p of the true class without cancellation, and not quite 0, for the power's slope."""
    others_N = tl.sum(tl.where(truth_KN, 0.0, raised_KN), axis=0)
    return tl.maximum(others_N / total_N, 1.1754944e-38)


@triton.jit
def _add_up(
    logits, targets, sums, strays,
    images, classes, height, width, ignored,
    stride_b, stride_k, stride_h, stride_w, label_b, label_h, label_w,
    IGNORES: tl.constexpr, OVERLAPS: tl.constexpr, SQUARES: tl.constexpr,
    ENTROPIES: tl.constexpr, FOCUSES: tl.constexpr, GAMMA: tl.constexpr,
    DOUBLE: tl.constexpr, FLAT: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    dtype = tl.float64 if DOUBLE else tl.float32
    overlap_KN = tl.zeros((BLOCK_K, BLOCK_N), dtype)
    predicted_KN = tl.zeros((BLOCK_K, BLOCK_N), dtype)
    squared_KN = tl.zeros((BLOCK_K, BLOCK_N), dtype)
    pixels_KN = tl.zeros((BLOCK_K, BLOCK_N), tl.int32)
    entropy_KN = tl.zeros((BLOCK_K, BLOCK_N), dtype)
    focal_KN = tl.zeros((BLOCK_K, BLOCK_N), dtype)
    stray = tl.zeros((BLOCK_N,), tl.int64)
    tiles = images * tl.cdiv(height * width, BLOCK_N)
    for tile in range(program, tiles, tl.num_programs(0)):
        _, _, label_N, _, valid_N, truth_KN, raised_KN, total_N, depth_N = _tile(
            logits, targets, tile, images, classes, height, width, ignored,
            stride_b, stride_k, stride_h, stride_w, label_b, label_h, label_w,
            IGNORES, DOUBLE, FLAT, BLOCK_K, BLOCK_N,
        )  # fmt: skip
        outside_N = (label_N < 0) | (label_N >= classes)
        stray += (valid_N & outside_N).to(tl.int64)
        pixels_KN += truth_KN.to(tl.int32)
        error_N = depth_N + tl.log(total_N)
        if ENTROPIES:
            entropy_KN += tl.where(truth_KN, error_N[None, :], 0.0)
        if FOCUSES:
            missed_N = _missed(truth_KN, raised_KN, total_N)
            focal_N = tl.exp(GAMMA * tl.log(missed_N)) * error_N
            focal_KN += tl.where(truth_KN, focal_N[None, :], 0.0)
        if OVERLAPS:
            p_KN = tl.where(valid_N[None, :], raised_KN / total_N[None, :], 0.0)
            overlap_KN += tl.where(truth_KN, p_KN, 0.0)
            predicted_KN += p_KN
            if SQUARES:
                squared_KN += p_KN * p_KN
    k = tl.arange(0, BLOCK_K)
    at = sums + program.to(tl.int64) * 6 * classes + k
    tl.store(at, tl.sum(overlap_KN, axis=1), mask=k < classes)
    tl.store(at + classes, tl.sum(predicted_KN, axis=1), mask=k < classes)
    tl.store(at + 2 * classes, tl.sum(squared_KN, axis=1), mask=k < classes)
    tl.store(at + 3 * classes, tl.sum(pixels_KN, axis=1).to(dtype), mask=k < classes)
    tl.store(at + 4 * classes, tl.sum(entropy_KN, axis=1), mask=k < classes)
    tl.store(at + 5 * classes, tl.sum(focal_KN, axis=1), mask=k < classes)
    tl.store(strays + program, tl.sum(stray, axis=0))


@triton.jit
def _descend(
    logits, targets, weights, slopes,
    images, classes, height, width, ignored,
    stride_b, stride_k, stride_h, stride_w, label_b, label_h, label_w,
    slope_b, slope_k, slope_h, slope_w,
    IGNORES: tl.constexpr, OVERLAPS: tl.constexpr, SQUARES: tl.constexpr,
    ENTROPIES: tl.constexpr, FOCUSES: tl.constexpr, GAMMA: tl.constexpr,
    DOUBLE: tl.constexpr, FLAT: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    k = tl.arange(0, BLOCK_K)
    real_K = k < classes
    overlap_K = tl.load(weights + k, mask=real_K, other=0.0)
    predicted_K = tl.load(weights + classes + k, mask=real_K, other=0.0)
    squared_K = tl.load(weights + 2 * classes + k, mask=real_K, other=0.0)
    entropy_K = tl.load(weights + 4 * classes + k, mask=real_K, other=0.0)
    focal_K = tl.load(weights + 5 * classes + k, mask=real_K, other=0.0)
    tiles = images * tl.cdiv(height * width, BLOCK_N)
    for tile in range(program, tiles, tl.num_programs(0)):
        image, _at_N, _, inside_N, valid_N, truth_KN, raised_KN, total_N, depth_N = _tile(
            logits, targets, tile, images, classes, height, width, ignored,
            stride_b, stride_k, stride_h, stride_w, label_b, label_h, label_w,
            IGNORES, DOUBLE, FLAT, BLOCK_K, BLOCK_N,
        )  # fmt: skip
        p_KN = raised_KN / total_N[None, :]
        pull_N = tl.zeros_like(total_N)
        if ENTROPIES:
            pull_N += tl.sum(tl.where(truth_KN, entropy_K[:, None], 0.0), axis=0)
        if FOCUSES:
            missed_N = _missed(truth_KN, raised_KN, total_N)
            error_N = depth_N + tl.log(total_N)
            power_N = tl.exp(GAMMA * tl.log(missed_N))
            true_N = tl.exp(-error_N)
            steep_N = power_N + GAMMA * (power_N / missed_N) * true_N * error_N
            pull_N += steep_N * tl.sum(tl.where(truth_KN, focal_K[:, None], 0.0), axis=0)
        slope_KN = p_KN * pull_N[None, :]
        at_truth_N = -pull_N
        if OVERLAPS:
            pull_KN = tl.zeros_like(p_KN) + predicted_K[:, None]
            if SQUARES:
                pull_KN += 2 * squared_K[:, None] * p_KN
            gained_N = tl.sum(tl.where(truth_KN, overlap_K[:, None] * p_KN, 0.0), axis=0)
            mean_N = tl.sum(pull_KN * p_KN, axis=0) + gained_N
            slope_KN += p_KN * (pull_KN - mean_N[None, :])
            at_truth_N += gained_N
        slope_KN += tl.where(truth_KN, at_truth_N[None, :], 0.0)
        slope_KN = tl.where(valid_N[None, :], slope_KN, 0.0)
        n = (tile % tl.cdiv(height * width, BLOCK_N)) * BLOCK_N + tl.arange(0, BLOCK_N)
        if FLAT:
            to_N = n.to(tl.int64) * slope_w
        else:
            to_N = (n // width).to(tl.int64) * slope_h + (n % width) * slope_w
        to_KN = image * slope_b + k.to(tl.int64)[:, None] * slope_k + to_N[None, :]
        tl.store(slopes + to_KN, slope_KN, mask=real_K[:, None] & inside_N[None, :])


def _flattens(maps: Tensor) -> bool:
    """Whether an image's pixels lie at equal steps, row after row."""
    return maps.stride(2) == maps.shape[3] * maps.stride(3) or maps.shape[2] == 1


def _programs(device: torch.device) -> int:
    if device.type != "cuda":
        return PROGRAMS_INTERPRETED
    return PROGRAMS * torch.cuda.get_device_properties(device).multi_processor_count
