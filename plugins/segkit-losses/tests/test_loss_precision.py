"""Losses that are ranked, weighed by distances or multilabel, in every type, against float64.

Those of one pass over the logits are in test_loss_paths.py.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import segkit

IGNORED = 255
# Of the gradient, beside its largest entry; values are held to 1e-5, or 1e-10 for float64.
BOUND = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 1e-2}
# Distances and weight maps are float32, whatever the logits are.
BY_DISTANCE = 1e-6
# Errors nearer to each other, and not equal, may change places by rounding.
NEAR = 1e-5


@dataclass
class Pixels:
    """What a definition sees, in float64.

    log_p, log_q   log p and log(1 - p) of every class, (B, K, H, W)
    true, valid    bool, (B, K, H, W)
    """

    log_p: Tensor
    log_q: Tensor
    true: Tensor
    valid: Tensor
    multilabel: bool
    objects_BHW: Tensor

    @property
    def error(self) -> Tensor:
        """-log p of what is true: of each valid pixel, or of each valid place of each map."""
        if self.multilabel:
            return -torch.where(self.true, self.log_p, self.log_q)[self.valid]
        return -(self.log_p * self.true).sum(1)[self.valid[:, 0]]


def cross_entropy(given: Pixels) -> Tensor:
    return given.error.mean()


def focal(given: Pixels) -> Tensor:
    return ((1 - (-given.error).exp()) ** 2 * given.error).mean()


def hard_pixels(given: Pixels) -> Tensor:
    error = given.error
    kept = max(math.ceil(len(error) / 16), int((error >= -math.log(0.7)).sum()))
    return error.sort(descending=True).values[:kept].mean()


def by_class(given: Pixels, cost) -> Tensor:
    """The mean over the classes in the truth; of maps without truth the mean p besides."""
    held, absent = [], []
    for k in range(given.true.shape[1]):
        valid = given.valid[:, k]
        p, true = given.log_p[:, k].exp()[valid], given.true[:, k][valid].double()
        if true.any():
            held.append(cost(p, true))
        elif given.multilabel and len(p):
            absent.append(p.mean())
    return sum(torch.stack(some).mean() for some in (held, absent) if some)


def dice(p: Tensor, true: Tensor) -> Tensor:
    return 1 - 2 * (p * true).sum() / (p.sum() + true.sum())


def jaccard(p: Tensor, true: Tensor) -> Tensor:
    return 1 - (p * true).sum() / (p.sum() + true.sum() - (p * true).sum())


def lovasz(p: Tensor, true: Tensor) -> Tensor:
    """Every gain the difference of two values of 1 - IoU."""
    error, order = (true - p).abs().sort(descending=True, stable=True)
    true = true[order]
    left, union = true.sum() - true.cumsum(0), true.sum() + (1 - true).cumsum(0)
    cost = 1 - left / union
    return (error * cost.diff(prepend=cost.new_zeros(1))).sum()


def boundary(given: Pixels) -> Tensor:
    batch, classes, height, width = given.true.shape
    place = torch.cartesian_prod(torch.arange(height), torch.arange(width)).double()
    distance = torch.cdist(place, place)
    phi = torch.zeros_like(given.log_p)
    for b in range(batch):
        for k in range(classes):
            valid, true = given.valid[b, k].flatten(), given.true[b, k].flatten()
            for n in valid.nonzero().flatten().tolist():
                others = valid & (true != true[n])
                far = math.hypot(height, width) / 2
                size = float(distance[n][others].min()) - 0.5 if others.any() else far
                phi[b, k].view(-1)[n] = -size if true[n] else size
    return (phi * given.log_p.exp() * given.valid).sum() / given.valid.sum()


def border_weighted(given: Pixels) -> Tensor:
    batch, _, height, width = given.true.shape
    place = torch.cartesian_prod(torch.arange(height), torch.arange(width)).double()
    weights = torch.ones(batch, height * width, dtype=torch.float64)
    for b, objects in enumerate(given.objects_BHW.flatten(1)):
        numbers = objects.unique()[1:] if (objects == 0).any() else objects.unique()
        if len(numbers) > 1:
            nearest = [torch.cdist(place, place[objects == one]).amin(1) for one in numbers]
            two = torch.stack(nearest).sort(0).values[:2].sum(0)
            weights[b] += torch.where(objects == 0, 10 * torch.exp(-(two**2) / 50), 0)
    weight = weights.view(batch, height, width)[given.valid[:, 0]]
    return (weight * given.error).sum() / weight.sum()


DEFINITIONS = {
    "lovasz": lambda given: by_class(given, lovasz),
    "ohem": hard_pixels,
    "boundary": boundary,
    "weighted_ce": border_weighted,
    "ce(multilabel=true)": cross_entropy,
    "focal(multilabel=true)": focal,
    "dice(multilabel=true)": lambda given: by_class(given, dice),
    "jaccard(multilabel=true)": lambda given: by_class(given, jaccard),
    "lovasz(multilabel=true)": lambda given: by_class(given, lovasz),
    "ohem(multilabel=true)": hard_pixels,
    "boundary(multilabel=true)": boundary,
}


@dataclass(repr=False)
class Case:
    expression: str
    logits_BKHW: Tensor
    target: Tensor
    objects_BHW: Tensor

    def seen(self, logits_BKHW: Tensor) -> Pixels:
        multilabel = "multilabel" in self.expression
        logits_BKHW = logits_BKHW.double()
        if multilabel:
            valid = self.target != IGNORED
            true = valid & (self.target == 1)
            log_p = torch.nn.functional.logsigmoid(logits_BKHW)
            log_q = torch.nn.functional.logsigmoid(-logits_BKHW)
        else:
            classes = torch.arange(logits_BKHW.shape[1])[:, None, None]
            valid = (self.target != IGNORED)[:, None].expand_as(logits_BKHW)
            true = valid & (self.target[:, None] == classes)
            log_p = logits_BKHW.log_softmax(1)
            log_q = torch.zeros_like(log_p)
        return Pixels(log_p, log_q, true, valid, multilabel, self.objects_BHW)

    def defined(self, logits_BKHW: Tensor) -> Tensor:
        return DEFINITIONS[self.expression](self.seen(logits_BKHW))

    def computed(self, logits_BKHW: Tensor) -> Tensor:
        classes = logits_BKHW.shape[1]
        loss = segkit.build_loss(self.expression, num_classes=classes, ignore_index=IGNORED)
        more = (self.objects_BHW,) if self.expression == "weighted_ce" else ()
        return loss(logits_BKHW, self.target, *more)

    def may_swap(self) -> bool:
        """Whether rounding may change the order of errors, or which are hard."""
        given = self.seen(self.logits_BKHW)
        if "ohem" in self.expression:
            ranked = torch.cat((given.error, torch.tensor([-math.log(0.7)], dtype=torch.float64)))
            rows = [ranked / ranked.abs().clamp_min(1)]
        elif "lovasz" in self.expression:
            error = (given.true.double() - given.log_p.exp()).abs()
            rows = [error[:, k][given.valid[:, k]] for k in range(error.shape[1])]
        else:
            return False
        gaps = [row.sort().values.diff() for row in rows]
        return any(bool(((gap > 0) & (gap < NEAR)).any()) for gap in gaps)


def drawn(expression: str, seed: int) -> Case:
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    classes, batch = draw.choice([2, 3, 5]), draw.randint(1, 2)
    size = (batch, draw.randint(2, 5), draw.randint(2, 5))
    logits_BKHW = torch.randn(batch, classes, *size[1:], generator=generator)
    logits_BKHW = (logits_BKHW * draw.choice([0.1, 2, 2, 30])).to(draw.choice(list(BOUND)))
    objects_BHW = torch.randint(0, 3, size, generator=generator)
    if "multilabel" in expression:
        target = torch.randint(0, 2, logits_BKHW.shape, generator=generator)
        if draw.random() < 0.3:
            target = (logits_BKHW > 0).long()  # certain and right: most errors round to 0
    else:
        target = torch.randint(0, classes, size, generator=generator)
        if draw.random() < 0.3:
            target = logits_BKHW.argmax(1)
    ignored = torch.rand(target.shape, generator=generator) < draw.choice([0, 0.2, 0.8])
    ignored.view(-1)[0] = False
    return Case(expression, logits_BKHW, target.masked_fill(ignored, IGNORED), objects_BHW)


def with_gradient(compute, logits_BKHW: Tensor) -> tuple[float, Tensor]:
    leaf_BKHW = logits_BKHW.detach().requires_grad_()
    value = compute(leaf_BKHW)
    return float(value.detach()), torch.autograd.grad(value, leaf_BKHW)[0].double()


@pytest.mark.parametrize("dtype", list(BOUND))
def test_the_hardest_pixels_are_no_more_where_errors_round_to_nothing(dtype):
    """Of 160 pixels 10 are kept: 3 wrong ones with an error of 5, and 7 of the certain rest."""
    logits_BKHW = torch.zeros(1, 2, 16, 10, dtype=dtype)
    logits_BKHW[:, 0] = 40
    logits_BKHW[0, 0, 0, :3] = -5
    loss = segkit.build_loss("ohem", num_classes=2)
    value = loss(logits_BKHW, torch.zeros(1, 16, 10, dtype=torch.int64))
    assert float(value) == pytest.approx(3 * math.log1p(math.exp(5)) / 10, rel=1e-6)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("expression", DEFINITIONS)
def test_in_every_type_it_is_the_definition_in_float64(expression, autocast):
    compared = 0
    for seed in range(30):
        case = drawn(expression, seed)
        dtype = case.logits_BKHW.dtype
        least = BY_DISTANCE if expression in ("weighted_ce", "boundary") else 0.0
        least = BY_DISTANCE if "boundary" in expression else least
        expected, expected_BKHW = with_gradient(case.defined, case.logits_BKHW.double())
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value, gradient_BKHW = with_gradient(case.computed, case.logits_BKHW)
        about = f"seed {seed}: {dtype}, {tuple(case.logits_BKHW.shape)}"
        bound = max(min(BOUND[dtype], 1e-5), least)
        assert value == pytest.approx(expected, abs=bound * max(1, abs(expected))), about
        if dtype != torch.float64 and case.may_swap():
            continue
        compared += 1
        bound = max(BOUND[dtype], least)
        largest = float(expected_BKHW.abs().max())
        error = float((gradient_BKHW - expected_BKHW).abs().max())
        assert error <= bound * largest + 2e-8, f"{about}: off by {error} of {largest}"
    assert compared >= 12
