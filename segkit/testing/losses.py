"""Checks of a loss's contract."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError, gradcheck

from segkit.testing.conduct import Use, conduct_checks
from segkit.testing.examples import (
    CLASSES,
    IGNORE,
    blobs,
    confident_logits,
    disturbed,
    is_multilabel,
    truth_for,
    with_ignored,
)
from segkit.testing.loss_calls import build, call, instances_for, logits
from segkit.testing.loss_capabilities import CAPABILITY_CHECKS
from segkit.testing.loss_means import MEAN_CHECKS
from segkit.testing.subject import Check, Subject, require

# 8 bits of mantissa in every logit, averaged over the pixels.
BF16_TOLERANCE = 0.02


def gives_a_finite_scalar(subject: Subject) -> None:
    """With some pixels ignored, and with ignore_index None, the value is one finite number.

    Mend: return the mean over the valid pixels, a tensor without dimensions.
    """
    for ignore_index in (IGNORE, None):
        target_BHW = blobs()
        if ignore_index is not None:
            target_BHW = with_ignored(target_BHW, ignore_index)
        loss = build(subject, ignore_index)
        require(isinstance(loss, nn.Module), "it is no torch.nn.Module")
        value = call(subject, loss, logits(), target_BHW, ignore_index)
        require(value.ndim == 0, f"it returns shape {tuple(value.shape)}, not a scalar")
        require(bool(value.isfinite()), f"it returns {value.item()}")


def ignored_pixels_move_nothing(subject: Subject) -> None:
    """Other logits at ignored pixels change neither value nor gradient, which is zero there.

    Mend: take valid_BHW = target_BHW != ignore_index first, and select or mask with it before
    anything is summed: logits, probabilities and counts alike.
    """
    for ignore_index in (IGNORE, 0):
        if ignore_index == 0 and is_multilabel(subject):
            continue  # 0 is a truth
        target_BHW = with_ignored(blobs(), ignore_index)
        ignored_B1HW = (target_BHW == ignore_index)[:, None]
        quiet_BKHW = logits()
        loud_BKHW = torch.where(ignored_B1HW, 50 * torch.randn_like(quiet_BKHW), quiet_BKHW)
        loss = build(subject, ignore_index)
        seen = []
        for logits_BKHW in (quiet_BKHW, loud_BKHW):
            leaf_BKHW = logits_BKHW.clone().requires_grad_()
            value = call(subject, loss, leaf_BKHW, target_BHW, ignore_index)
            (gradient_BKHW,) = torch.autograd.grad(value, leaf_BKHW)
            require(
                not bool((gradient_BKHW * ignored_B1HW).any()),
                f"with ignore_index {ignore_index}, ignored pixels have a gradient",
            )
            seen.append((value.detach(), gradient_BKHW))
        (quiet, quiet_gradient), (loud, loud_gradient) = seen
        require(
            torch.allclose(quiet, loud, rtol=1e-5, atol=1e-6),
            f"with ignore_index {ignore_index}, ignored pixels move the value: {quiet} and {loud}",
        )
        require(
            torch.allclose(quiet_gradient, loud_gradient, rtol=1e-4, atol=1e-7),
            f"with ignore_index {ignore_index}, ignored pixels move the gradient elsewhere",
        )


def all_ignored_gives_zero(subject: Subject) -> None:
    """A batch with every pixel ignored gives 0, with finite gradients.

    Mend: divide by valid_BHW.sum().clamp_min(1).
    """
    target_BHW = torch.full((2, 12, 16), IGNORE)
    logits_BKHW = logits().requires_grad_()
    value = call(subject, build(subject, IGNORE), logits_BKHW, target_BHW, IGNORE)
    require(value.item() == 0, f"with every pixel ignored the value is {value.item()}")
    require(value.requires_grad, "with every pixel ignored the value is cut off from the logits")
    (gradient_BKHW,) = torch.autograd.grad(value, logits_BKHW, allow_unused=True)
    finite = gradient_BKHW is None or bool(gradient_BKHW.isfinite().all())
    require(finite, "with every pixel ignored the gradient is not finite")


def gradient_is_right(subject: Subject) -> None:
    """Its gradient equals the difference quotient, in float64.

    Mend: compute in the dtype of the logits (float64 stays float64), and cut no part of the value
    off by detach(), argmax or .item().
    """
    target_BHW = with_ignored(blobs(1, 4, 16), IGNORE)
    logits_BKHW = logits(1, 4, 16).double().requires_grad_()
    loss = build(subject, IGNORE).double()
    try:
        gradcheck(lambda x_BKHW: call(subject, loss, x_BKHW, target_BHW, IGNORE), logits_BKHW)
    except GradcheckError as error:
        lines = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        require(False, f"the gradient differs from the difference quotient: {lines[:300]}")


def absent_class_is_harmless(subject: Subject) -> None:
    """A class that no pixel has leaves value and gradient finite.

    Mend: divide by counts only where they are above 0, or add a small number below.
    """
    target_BHW = torch.zeros(2, 12, 16, dtype=torch.int64)
    logits_BKHW = logits().requires_grad_()
    value = call(subject, build(subject, IGNORE), logits_BKHW, target_BHW, IGNORE)
    (gradient_BKHW,) = torch.autograd.grad(value, logits_BKHW)
    require(bool(value.isfinite()), f"with classes absent the value is {value.item()}")
    require(bool(gradient_BKHW.isfinite().all()), "with classes absent the gradient is not finite")


def extreme_logits_stay_finite(subject: Subject) -> None:
    """Logits of plus and minus 1000, right or wrong, leave value and gradient finite.

    Mend: use log_softmax, logsigmoid and softplus, never log(softmax(x)) or exp(x) of a logit.
    """
    target_BHW = blobs()
    for labels_BHW in (target_BHW, (target_BHW + 1) % CLASSES):
        logits_BKHW = confident_logits(labels_BHW, height=2000.0) - 1000
        logits_BKHW.requires_grad_()
        value = call(subject, build(subject, IGNORE), logits_BKHW, target_BHW, IGNORE)
        (gradient_BKHW,) = torch.autograd.grad(value, logits_BKHW)
        finite = bool(value.isfinite()) and bool(gradient_BKHW.isfinite().all())
        require(finite, f"logits of size 1000 give {value.item()} or a gradient that is not finite")


def right_costs_less_than_wrong(subject: Subject) -> None:
    """The truth costs less than an answer a third wrong, and that no more than one all wrong.

    Mend: smaller is better: return the cost, not the score.
    """
    target_BHW = blobs()
    loss = build(subject, IGNORE)
    labels = (target_BHW, disturbed(target_BHW, 1 / 3), (target_BHW + 1) % CLASSES)
    cost = [
        call(subject, loss, _graded(subject, label_BHW), target_BHW, IGNORE).item()
        for label_BHW in labels
    ]
    # Where only the hardest pixels count, the two wrong answers cost the same but for rounding.
    require(
        cost[0] < cost[1] <= cost[2] + 1e-4 * abs(cost[2]),
        f"right costs {cost[0]:.4g}, a third wrong {cost[1]:.4g}, all wrong {cost[2]:.4g}",
    )


def bf16_logits_are_near(subject: Subject) -> None:
    """bfloat16 logits, as autocast makes them, give the value of their float32 copy within 2 %, and
    a finite gradient, under autocast and without.

    Mend: begin with logits_BKHW.to(torch.promote_types(logits_BKHW.dtype, torch.float32)): a sum in
    bfloat16 stops growing at 256.
    """
    target_BHW = with_ignored(blobs(2, 48, 64), IGNORE)
    logits_BKHW = logits(2, 48, 64).bfloat16().requires_grad_()
    loss = build(subject, IGNORE)
    exact = call(subject, loss, logits_BKHW.float(), target_BHW, IGNORE)
    for autocast in (True, False):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            rounded = call(subject, loss, logits_BKHW, target_BHW, IGNORE)
        label = "under autocast" if autocast else "without autocast"
        error = ((rounded.float() - exact).abs() / exact.abs().clamp_min(0.1)).item()
        require(error <= BF16_TOLERANCE, f"bfloat16 logits move the value by {error:.1%} {label}")
        (gradient_BKHW,) = torch.autograd.grad(rounded, logits_BKHW)
        require(
            bool(gradient_BKHW.isfinite().all()), f"bfloat16 logits get no finite gradient {label}"
        )


def input_is_left_as_it_was(subject: Subject) -> None:
    """Logits and truth hold the same numbers afterwards.

    Mend: use masked_fill, torch.where and clone, not assignment into what you are given.
    """
    logits_BKHW, target_BHW = logits(), with_ignored(blobs(), IGNORE)
    truth = truth_for(subject, target_BHW, IGNORE)
    kept = logits_BKHW.clone(), truth.clone()
    loss = build(subject, IGNORE)
    extra = instances_for(loss, target_BHW)
    loss(logits_BKHW, truth, *extra)
    require(torch.equal(kept[0], logits_BKHW), "it writes into the logits")
    require(torch.equal(kept[1], truth), "it writes into the truth")


def repeats_and_copies(subject: Subject) -> None:
    """The same input gives the same value, from a second call, a second build and a deep copy.

    Mend: draw no random numbers, keep nothing between calls, and build the same each time.
    """
    logits_BKHW, target_BHW = logits(), with_ignored(blobs(), IGNORE)
    loss = build(subject, IGNORE)
    values = [
        call(subject, each, logits_BKHW, target_BHW, IGNORE)
        for each in (loss, loss, build(subject, IGNORE), copy.deepcopy(loss))
    ]
    require(len({value.item() for value in values}) == 1, f"the values differ: {values}")


def state_dict_restores_it(subject: Subject) -> None:
    """A fresh build takes the other's state dict strictly.

    Mend: register the same buffers and parameters in every build.
    """
    build(subject, IGNORE).load_state_dict(build(subject, IGNORE).state_dict(), strict=True)


@contextmanager
def use(subject: Subject) -> Iterator[Use]:
    """A loss in use: called once."""

    logits_BKHW, target_BHW = logits(), with_ignored(blobs(), IGNORE)

    def run(loss: nn.Module) -> None:
        call(subject, loss, logits_BKHW, target_BHW, IGNORE)

    yield Use(lambda: build(subject, IGNORE), run)


BASIC = gives_a_finite_scalar
CHECKS: tuple[Check, ...] = (
    gives_a_finite_scalar,
    ignored_pixels_move_nothing,
    all_ignored_gives_zero,
    *MEAN_CHECKS,
    gradient_is_right,
    absent_class_is_harmless,
    extreme_logits_stay_finite,
    right_costs_less_than_wrong,
    bf16_logits_are_near,
    input_is_left_as_it_was,
    repeats_and_copies,
    *CAPABILITY_CHECKS,
    state_dict_restores_it,
    *conduct_checks(use),
)


def _graded(subject: Subject, label_BHW: Tensor) -> Tensor:
    # Moderate certainty: at 20 the wrong answers would all saturate alike.
    logits_BKHW = confident_logits(label_BHW, height=4.0)
    return logits_BKHW - 2.0 if is_multilabel(subject) else logits_BKHW
