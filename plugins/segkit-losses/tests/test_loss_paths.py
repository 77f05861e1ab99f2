"""Every way to compute a loss against one definition in float64, on inputs drawn at random."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from segkit_losses import tiles
from segkit_losses.one_pass import OnePassLoss, WeightedLosses
from torch import Tensor
from torch.nn import functional as F

import segkit

LAYOUTS = ("contiguous", "channels_last", "cut", "transposed")
# Of the value, and of the gradient beside its largest entry: rounding of the type.
BOUND = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 1e-2}


def cross_entropy(log_NK: Tensor, true_NK: Tensor) -> Tensor:
    return -(log_NK * true_NK).sum(1).mean()


def focal(log_NK: Tensor, true_NK: Tensor, gamma: float) -> Tensor:
    others_N = (log_NK.exp() * (1 - true_NK)).sum(1).clamp_min(1e-300)
    return -(others_N**gamma * (log_NK * true_NK).sum(1)).mean()


def overlaps(log_NK: Tensor, true_NK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """I, P, T of the classes in the truth."""
    held_K = true_NK.any(0)
    p_NK, true_NK = log_NK[:, held_K].exp(), true_NK[:, held_K]
    return (p_NK * true_NK).sum(0), p_NK.sum(0), true_NK.sum(0)


def dice(log_NK: Tensor, true_NK: Tensor) -> Tensor:
    both_K, found_K, true_K = overlaps(log_NK, true_NK)
    return (1 - 2 * both_K / (found_K + true_K)).mean()


def dice_squared(log_NK: Tensor, true_NK: Tensor) -> Tensor:
    both_K, _, true_K = overlaps(log_NK, true_NK)
    square_K = log_NK.exp().square().sum(0)[true_NK.any(0)]
    return (1 - (2 * both_K + 1) / (square_K + true_K + 1)).mean()


def jaccard(log_NK: Tensor, true_NK: Tensor) -> Tensor:
    both_K, found_K, true_K = overlaps(log_NK, true_NK)
    return (1 - both_K / (found_K + true_K - both_K)).mean()


def tversky_K(log_NK: Tensor, true_NK: Tensor) -> Tensor:
    both_K, found_K, true_K = overlaps(log_NK, true_NK)
    wrong_K = 0.3 * (found_K - both_K) + 0.7 * (true_K - both_K)
    return wrong_K / (both_K + wrong_K)


def lovasz(log_NK: Tensor, true_NK: Tensor) -> Tensor:
    """Every gain the difference of two values of 1 - IoU."""
    losses = []
    for p_N, true_N in zip(log_NK.exp().T, true_NK.T, strict=True):
        if true_N.any():
            error_N, order_N = (true_N - p_N).abs().sort(descending=True, stable=True)
            truth = true_N[order_N].tolist()
            left, union = [sum(truth)], [sum(truth)]
            for each in truth:
                left.append(left[-1] - each)
                union.append(union[-1] + 1 - each)
            cost = [1 - a / b for a, b in zip(left, union, strict=True)]
            losses.append(
                sum(e * (b - a) for e, (a, b) in zip(error_N, pairwise(cost), strict=True))
            )
    return torch.stack(losses).mean()


def hard_pixels(log_NK: Tensor, true_NK: Tensor) -> Tensor:
    true_N = (log_NK * true_NK).sum(1)
    kept = max(math.ceil(len(true_N) / 16), int((true_N <= math.log(0.7)).sum()))
    return -true_N.sort().values[:kept].mean()


DEFINITIONS = {
    "ce": cross_entropy,
    "focal": lambda log, t: focal(log, t, 2.0),
    "focal(gamma=0.5)": lambda log, t: focal(log, t, 0.5),
    "dice": dice,
    "dice(squared=true, smooth=1)": dice_squared,
    "jaccard": jaccard,
    "tversky": lambda log, t: tversky_K(log, t).mean(),
    "focal_tversky": lambda log, t: (tversky_K(log, t).clamp_min(1e-15) ** 0.75).mean(),
    "dice + 0.5*ce": lambda log, t: dice(log, t) + 0.5 * cross_entropy(log, t),
    "lovasz": lovasz,
    "ohem": hard_pixels,
}
# Ranks decide: rounding may swap them.
RANKED = ("lovasz", "ohem")


@dataclass(repr=False)
class Drawn:
    """Logits and truth; of coarse logits `scale` is above 1, and the truth may be cut."""

    expression: str
    logits_BKhw: Tensor
    target_BHW: Tensor
    ignore_index: int | None
    scale: int

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.logits_BKhw.shape[2:]
        return height * self.scale, width * self.scale

    def loss(self) -> torch.nn.Module:
        classes = self.logits_BKhw.shape[1]
        return segkit.build_loss(
            self.expression, num_classes=classes, ignore_index=self.ignore_index
        )

    def enlarged(self, logits_BKhw: Tensor) -> Tensor:
        if self.scale > 1:
            logits_BKhw = F.interpolate(logits_BKhw, self.size, mode="bilinear")
        height, width = self.target_BHW.shape[1:]
        return logits_BKhw[..., :height, :width]

    def defined(self, logits_BKhw: Tensor) -> Tensor:
        """The loss of the valid pixels, one by one, in float64."""
        label_N = self.target_BHW.long().flatten()
        kept_N = torch.ones_like(label_N, dtype=torch.bool)
        if self.ignore_index is not None:
            kept_N = label_N != self.ignore_index
        logits_NK = self.enlarged(logits_BKhw.double()).movedim(1, -1).flatten(0, 2)[kept_N]
        if not len(logits_NK):
            return logits_BKhw.double().sum() * 0
        true_NK = F.one_hot(label_N[kept_N], logits_NK.shape[1]).double()
        return DEFINITIONS[self.expression](logits_NK.log_softmax(1), true_NK)

    def __str__(self) -> str:
        logits_BKhw, target_BHW = self.logits_BKhw, self.target_BHW
        return (
            f"{self.expression} of {tuple(logits_BKhw.shape)} {logits_BKhw.dtype} up to "
            f"{float(logits_BKhw.abs().max()):.3g}, {self.scale} times enlarged, labels "
            f"{tuple(target_BHW.shape)} {target_BHW.dtype}, ignoring {self.ignore_index}"
        )


def drawn(seed: int, names: list[str]) -> Drawn:
    draw = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    expression = draw.choice(names)
    classes = draw.choice([2, 2, 3, 4, 5, 8, 21, 40, 150, 255, 256, 257, 300])
    dtype = torch.float64 if expression in RANKED else draw.choice(list(BOUND))
    scale = draw.choice([1, 1, 2, 3, 4])
    batch, height, width = draw.randint(1, 3), draw.randint(1, 9), draw.randint(1, 9)
    wide_BKhw = torch.randn(batch, classes, height + 1, width + 2, generator=generator)
    wide_BKhw = (wide_BKhw * draw.choice([0.1, 2, 2, 30, 1e3])).to(dtype)
    logits_BKhw = laid_out(wide_BKhw[..., :height, :width], draw.choice(LAYOUTS))
    size = (batch, *(max(s * scale - draw.randint(0, 1) * (scale > 1), 1) for s in (height, width)))
    held = torch.randperm(classes, generator=generator)[: draw.randint(1, classes)]
    target_BHW = held[torch.randint(len(held), size, generator=generator)]
    ignore_index = draw.choice([None, -1, -100, 1000, 0, classes - 1, 255])
    share = draw.choice([0, 0.2, 0.97, 1])
    if ignore_index is not None:
        ignored_BHW = torch.rand(size, generator=generator) < share
        target_BHW = target_BHW.masked_fill(ignored_BHW, ignore_index)
    if int(target_BHW.min()) >= 0 and int(target_BHW.max()) < 256:
        target_BHW = target_BHW.to(draw.choice([torch.uint8, torch.int64]))
    else:
        target_BHW = target_BHW.to(draw.choice([torch.int16, torch.int32, torch.int64]))
    return Drawn(expression, logits_BKhw, target_BHW, ignore_index, scale)


def laid_out(cut_BKHW: Tensor, layout: str) -> Tensor:
    if layout == "channels_last":
        return cut_BKHW.contiguous(memory_format=torch.channels_last)
    if layout == "transposed":
        return cut_BKHW.mT.contiguous().mT
    return cut_BKHW if layout == "cut" else cut_BKHW.contiguous()


def with_gradient(compute, logits_BKhw: Tensor) -> tuple[Tensor, Tensor]:
    leaf_BKhw = logits_BKhw.detach().requires_grad_()
    value = compute(leaf_BKhw)
    return value.detach(), torch.autograd.grad(value, leaf_BKhw)[0]


def fault(case: Drawn, compute) -> str:
    """What differs from the definition by more than the bound; nothing where nothing does."""
    bound = BOUND[case.logits_BKhw.dtype]
    value, gradient_BKhw = with_gradient(compute, case.logits_BKhw)
    expected, expected_BKhw = with_gradient(case.defined, case.logits_BKhw.double())
    if value.dtype != torch.promote_types(case.logits_BKhw.dtype, torch.float32):
        return f"{case}: the value is {value.dtype}"
    if not abs(value.double() - expected) <= min(bound, 1e-5) * max(1, float(expected)):
        return f"{case}: {value} is not {expected}"
    error = float((gradient_BKhw.double() - expected_BKhw).abs().max())
    largest = float(expected_BKhw.abs().max())
    if gradient_BKhw.dtype != case.logits_BKhw.dtype or not error <= bound * largest + 2e-8:
        return f"{case}: the gradient is off by {error}, its largest entry is {largest}"
    return ""


def of(case: Drawn, loss):
    """The loss as a training step calls it."""
    if case.scale == 1:
        return lambda logits: loss(logits, case.target_BHW)
    return lambda logits: loss.from_coarse(logits, case.target_BHW, case.size)


ONE_PASS = [name for name in DEFINITIONS if name not in RANKED]


def test_tiles_give_value_and_gradient_of_the_definition(monkeypatch):
    """Classes 2 to 300, odd sizes, layouts, types, ignored shares from none to all, absent classes,
    logits up to some thousands, whole and enlarged, in tiles of any size and several threads."""
    before, faults = torch.get_num_threads(), {}
    try:
        for seed in range(400):
            case = drawn(seed, ONE_PASS)
            monkeypatch.setattr(tiles, "TILE", (1, 500, 5000, 10**6)[seed % 4])
            torch.set_num_threads(1 + seed % 3)
            faults[seed] = fault(case, of(case, case.loss()))
    finally:
        torch.set_num_threads(before)
    assert not {seed: said for seed, said in faults.items() if said}


def plainly(case: Drawn):
    """The same loss step by step, as on other devices."""
    loss = case.loss()
    if isinstance(loss, OnePassLoss):
        loss = WeightedLosses(((1.0, loss),), None)
    elif case.expression not in RANKED:
        loss = WeightedLosses(tuple(zip(loss.weights, loss.losses, strict=True)), None)
    return lambda logits: loss(case.enlarged(wide(logits)), case.target_BHW)


def wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


@pytest.mark.parametrize("autocast", [False, True])
def test_step_by_step_gives_value_and_gradient_of_the_definition(autocast):
    faults = {}
    for seed in range(200):
        case = drawn(seed, list(DEFINITIONS))
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            faults[seed] = fault(case, plainly(case))
    assert not {seed: said for seed, said in faults.items() if said}
