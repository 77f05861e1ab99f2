"""Checks of a loss's contract."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError, gradcheck
from torch.nn.functional import interpolate

from segkit.interfaces import CoarseLoss, FusableLoss
from segkit.model.loss_sum import takes_instances
from segkit.testing.examples import (
    CLASSES,
    IGNORE,
    blobs,
    confident_logits,
    disturbed,
    instances_of,
    is_multilabel,
    truth_for,
    with_ignored,
)
from segkit.testing.imports import recorded_connections
from segkit.testing.subject import Check, NotApplicable, Subject, require

# 8 bits of mantissa in every logit, averaged over the pixels.
BF16_TOLERANCE = 0.02


def gives_a_finite_scalar(subject: Subject) -> None:
    """With some pixels ignored, and with ignore_index None, the value is one finite number."""
    for ignore_index in (IGNORE, None):
        target_BHW = blobs()
        if ignore_index is not None:
            target_BHW = with_ignored(target_BHW, ignore_index)
        loss = _build(subject, ignore_index)
        require(isinstance(loss, nn.Module), "it is no torch.nn.Module")
        value = _call(subject, loss, _logits(), target_BHW, ignore_index)
        require(value.ndim == 0, f"it returns shape {tuple(value.shape)}, not a scalar")
        require(bool(value.isfinite()), f"it returns {value.item()}")


def ignored_pixels_move_nothing(subject: Subject) -> None:
    """Other logits at ignored pixels change neither value nor gradient, which is zero there."""
    for ignore_index in (IGNORE, 0):
        if ignore_index == 0 and is_multilabel(subject):
            continue  # 0 is a truth
        target_BHW = with_ignored(blobs(), ignore_index)
        ignored_B1HW = (target_BHW == ignore_index)[:, None]
        quiet_BKHW = _logits()
        loud_BKHW = torch.where(ignored_B1HW, 50 * torch.randn_like(quiet_BKHW), quiet_BKHW)
        loss = _build(subject, ignore_index)
        seen = []
        for logits_BKHW in (quiet_BKHW, loud_BKHW):
            leaf_BKHW = logits_BKHW.clone().requires_grad_()
            value = _call(subject, loss, leaf_BKHW, target_BHW, ignore_index)
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
    """A batch with every pixel ignored gives 0, with finite gradients."""
    target_BHW = torch.full((2, 12, 16), IGNORE)
    logits_BKHW = _logits().requires_grad_()
    value = _call(subject, _build(subject, IGNORE), logits_BKHW, target_BHW, IGNORE)
    require(value.item() == 0, f"with every pixel ignored the value is {value.item()}")
    require(value.requires_grad, "with every pixel ignored the value is cut off from the logits")
    (gradient_BKHW,) = torch.autograd.grad(value, logits_BKHW, allow_unused=True)
    finite = gradient_BKHW is None or bool(gradient_BKHW.isfinite().all())
    require(finite, "with every pixel ignored the gradient is not finite")


def gradient_is_right(subject: Subject) -> None:
    """Its gradient equals the difference quotient, in float64."""
    target_BHW = with_ignored(blobs(1, 4, 16), IGNORE)
    logits_BKHW = _logits(1, 4, 16).double().requires_grad_()
    loss = _build(subject, IGNORE).double()
    try:
        gradcheck(lambda x_BKHW: _call(subject, loss, x_BKHW, target_BHW, IGNORE), logits_BKHW)
    except GradcheckError as error:
        lines = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        require(False, f"the gradient differs from the difference quotient: {lines[:300]}")


def absent_class_is_harmless(subject: Subject) -> None:
    """A class that no pixel has leaves value and gradient finite."""
    target_BHW = torch.zeros(2, 12, 16, dtype=torch.int64)
    logits_BKHW = _logits().requires_grad_()
    value = _call(subject, _build(subject, IGNORE), logits_BKHW, target_BHW, IGNORE)
    (gradient_BKHW,) = torch.autograd.grad(value, logits_BKHW)
    require(bool(value.isfinite()), f"with classes absent the value is {value.item()}")
    require(bool(gradient_BKHW.isfinite().all()), "with classes absent the gradient is not finite")


def extreme_logits_stay_finite(subject: Subject) -> None:
    """Logits of plus and minus 1000, right or wrong, leave value and gradient finite."""
    target_BHW = blobs()
    for labels_BHW in (target_BHW, (target_BHW + 1) % CLASSES):
        logits_BKHW = confident_logits(labels_BHW, height=2000.0) - 1000
        logits_BKHW.requires_grad_()
        value = _call(subject, _build(subject, IGNORE), logits_BKHW, target_BHW, IGNORE)
        (gradient_BKHW,) = torch.autograd.grad(value, logits_BKHW)
        finite = bool(value.isfinite()) and bool(gradient_BKHW.isfinite().all())
        require(finite, f"logits of size 1000 give {value.item()} or a gradient that is not finite")


def right_costs_less_than_wrong(subject: Subject) -> None:
    """The truth costs less than an answer a third wrong, and that no more than one all wrong."""
    target_BHW = blobs()
    loss = _build(subject, IGNORE)
    labels = (target_BHW, disturbed(target_BHW, 1 / 3), (target_BHW + 1) % CLASSES)
    cost = [
        _call(subject, loss, _graded(subject, label_BHW), target_BHW, IGNORE).item()
        for label_BHW in labels
    ]
    # Where only the hardest pixels count, the two wrong answers cost the same but for rounding.
    require(
        cost[0] < cost[1] <= cost[2] + 1e-4 * abs(cost[2]),
        f"right costs {cost[0]:.4g}, a third wrong {cost[1]:.4g}, all wrong {cost[2]:.4g}",
    )


def bf16_logits_are_near(subject: Subject) -> None:
    """bfloat16 logits, as autocast makes them, give the value of their float32 copy within 2 %."""
    target_BHW = with_ignored(blobs(), IGNORE)
    logits_BKHW = _logits().bfloat16()
    loss = _build(subject, IGNORE)
    exact = _call(subject, loss, logits_BKHW.float(), target_BHW, IGNORE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = _call(subject, loss, logits_BKHW, target_BHW, IGNORE)
    error = ((rounded.float() - exact).abs() / exact.abs().clamp_min(0.1)).item()
    require(error <= BF16_TOLERANCE, f"bfloat16 logits move the value by {error:.1%}")


def input_is_left_as_it_was(subject: Subject) -> None:
    """Logits and truth hold the same numbers afterwards."""
    logits_BKHW, target_BHW = _logits(), with_ignored(blobs(), IGNORE)
    truth = truth_for(subject, target_BHW, IGNORE)
    kept = logits_BKHW.clone(), truth.clone()
    loss = _build(subject, IGNORE)
    extra = _instances(loss, target_BHW)
    loss(logits_BKHW, truth, *extra)
    require(torch.equal(kept[0], logits_BKHW), "it writes into the logits")
    require(torch.equal(kept[1], truth), "it writes into the truth")


def repeats_and_copies(subject: Subject) -> None:
    """The same input gives the same value, from a second call, a second build and a deep copy."""
    logits_BKHW, target_BHW = _logits(), with_ignored(blobs(), IGNORE)
    loss = _build(subject, IGNORE)
    values = [
        _call(subject, each, logits_BKHW, target_BHW, IGNORE)
        for each in (loss, loss, _build(subject, IGNORE), copy.deepcopy(loss))
    ]
    require(len({value.item() for value in values}) == 1, f"the values differ: {values}")


def fused_with_itself_adds_up(subject: Subject) -> None:
    """Where it offers `fuse`, what that makes of twice the loss and half of it is 2.5 times it."""
    logits_BKHW, target_BHW = _logits(), with_ignored(blobs(), IGNORE)
    loss, other = _build(subject, IGNORE), _build(subject, IGNORE)
    if not isinstance(loss, FusableLoss) or not isinstance(other, FusableLoss):
        raise NotApplicable("it is no FusableLoss: it has no `fuse`")
    require(loss.fuse == other.fuse, "`fuse` is another method in every build")
    together = loss.fuse([(2.0, loss), (0.5, other)])
    if together is None:
        raise NotApplicable("with these options it is not fused")
    alone = _call(subject, loss, logits_BKHW, target_BHW, IGNORE)
    found = together(logits_BKHW, truth_for(subject, target_BHW, IGNORE))
    require(
        torch.allclose(found, 2.5 * alone, rtol=1e-5, atol=1e-6),
        f"2 and 0.5 times the loss of {alone} are {found} when fused",
    )


def coarse_logits_are_enlarged(subject: Subject) -> None:
    """Where it offers `from_coarse`, this is the loss of the enlarged logits, cut to the target."""
    loss = _build(subject, IGNORE)
    if not isinstance(loss, CoarseLoss):
        raise NotApplicable("it is no CoarseLoss: it has no `from_coarse`")
    for align_corners, size in ((False, (16, 20)), (True, (16, 20)), (False, (13, 17))):
        coarse_BKhw = _logits(2, 4, 5).requires_grad_()
        target_BHW = with_ignored(blobs(), IGNORE)
        enlarged_BKHW = interpolate(
            coarse_BKhw, size, mode="bilinear", align_corners=align_corners
        )[..., :12, :16]
        expected = _call(subject, loss, enlarged_BKHW, target_BHW, IGNORE)
        found = loss.from_coarse(
            coarse_BKhw, truth_for(subject, target_BHW, IGNORE), size, align_corners
        )
        (slope_BKhw,) = torch.autograd.grad(found, coarse_BKhw)
        (expected_BKhw,) = torch.autograd.grad(expected, coarse_BKhw)
        setting = f"enlarged to {size} (align_corners={align_corners})"
        require(
            torch.allclose(found, expected, rtol=1e-4, atol=1e-5),
            f"{setting} by itself the loss is {found}, of enlarged logits {expected}",
        )
        require(
            torch.allclose(slope_BKhw, expected_BKhw, rtol=1e-3, atol=1e-6),
            f"{setting} by itself the loss has another gradient than that of enlarged logits",
        )


def instances_are_optional(subject: Subject) -> None:
    """Where it takes instances_BHW, it has a finite value without them too, as data may have none,
    and the numbers themselves do not matter."""
    loss = _build(subject, IGNORE)
    if not takes_instances(loss):
        raise NotApplicable("it is no InstanceLoss: it does not ask for instances_BHW")
    logits_BKHW, target_BHW = _logits(), with_ignored(blobs(), IGNORE)
    instances_BHW = instances_of(target_BHW)
    without = loss(logits_BKHW, target_BHW, None)
    require(bool(without.isfinite()), f"without instances it returns {without.item()}")
    numbered = loss(logits_BKHW, target_BHW, instances_BHW)
    other = loss(logits_BKHW, target_BHW, torch.where(instances_BHW > 0, instances_BHW + 1000, 0))
    require(
        torch.allclose(numbered, other, rtol=1e-5, atol=1e-6),
        f"objects numbered otherwise change the value from {numbered} to {other}",
    )


def state_dict_restores_it(subject: Subject) -> None:
    """A fresh build takes the other's state dict strictly."""
    _build(subject, IGNORE).load_state_dict(_build(subject, IGNORE).state_dict(), strict=True)


def opens_no_socket(subject: Subject) -> None:
    """Building and calling it asks for no connection."""
    with recorded_connections() as asked:
        _call(subject, _build(subject, IGNORE), _logits(), blobs(), IGNORE)
    require(not asked, f"it asked for a connection to {', '.join(asked)}")


CHECKS: tuple[Check, ...] = (
    gives_a_finite_scalar,
    ignored_pixels_move_nothing,
    all_ignored_gives_zero,
    gradient_is_right,
    absent_class_is_harmless,
    extreme_logits_stay_finite,
    right_costs_less_than_wrong,
    bf16_logits_are_near,
    input_is_left_as_it_was,
    repeats_and_copies,
    fused_with_itself_adds_up,
    coarse_logits_are_enlarged,
    instances_are_optional,
    state_dict_restores_it,
    opens_no_socket,
)


def _build(subject: Subject, ignore_index: int | None) -> nn.Module:
    loss: nn.Module = subject.build(num_classes=CLASSES, ignore_index=ignore_index)
    return loss


def _logits(batch: int = 2, height: int = 12, width: int = 16) -> Tensor:
    return torch.randn(batch, CLASSES, height, width)


def _graded(subject: Subject, label_BHW: Tensor) -> Tensor:
    # Moderate certainty: at 20 the wrong answers would all saturate alike.
    logits_BKHW = confident_logits(label_BHW, height=4.0)
    return logits_BKHW - 2.0 if is_multilabel(subject) else logits_BKHW


def _instances(loss: nn.Module, target_BHW: Tensor) -> tuple[Tensor, ...]:
    return (instances_of(target_BHW),) if takes_instances(loss) else ()


def _call(
    subject: Subject,
    loss: nn.Module,
    logits_BKHW: Tensor,
    target_BHW: Tensor,
    ignore_index: int | None,
) -> Tensor:
    truth = truth_for(subject, target_BHW, ignore_index)
    value: Tensor = loss(logits_BKHW, truth, *_instances(loss, target_BHW))
    require(isinstance(value, Tensor), f"it returns {type(value).__name__}, not a tensor")
    return value
