"""Checks of what a loss may offer besides."""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate

from segkit.interfaces import CoarseLoss, FusableLoss
from segkit.model.loss_sum import takes_instances
from segkit.testing.examples import (
    IGNORE,
    blobs,
    instances_of,
    truth_for,
    with_ignored,
)
from segkit.testing.loss_calls import build, call, logits
from segkit.testing.subject import Check, NotApplicable, Subject, require


def fused_with_itself_adds_up(subject: Subject) -> None:
    """Where it offers `fuse`, what that makes of twice the loss and half of it is 2.5 times it.

    Mend: multiply each loss by its weight in `fuse`, and return None for what cannot be fused.
    """
    logits_BKHW, target_BHW = logits(), with_ignored(blobs(), IGNORE)
    loss, other = build(subject, IGNORE), build(subject, IGNORE)
    if not isinstance(loss, FusableLoss) or not isinstance(other, FusableLoss):
        raise NotApplicable("it is no FusableLoss: it has no `fuse`")
    require(loss.fuse == other.fuse, "`fuse` is another method in every build")
    together = loss.fuse([(2.0, loss), (0.5, other)])
    if together is None:
        raise NotApplicable("with these options it is not fused")
    alone = call(subject, loss, logits_BKHW, target_BHW, IGNORE)
    found = together(logits_BKHW, truth_for(subject, target_BHW, IGNORE))
    require(
        torch.allclose(found, 2.5 * alone, rtol=1e-5, atol=1e-6),
        f"2 and 0.5 times the loss of {alone} are {found} when fused",
    )


def coarse_logits_are_enlarged(subject: Subject) -> None:
    """Where it offers `from_coarse`, this is the loss of the enlarged logits, cut to the target.

    Mend: interpolate(logits_BKhw, size, mode="bilinear", align_corners=align_corners), cut it to
    the target's height and width, and call the loss with that: then make it quicker.
    """
    loss = build(subject, IGNORE)
    if not isinstance(loss, CoarseLoss):
        raise NotApplicable("it is no CoarseLoss: it has no `from_coarse`")
    for align_corners, size in ((False, (16, 20)), (True, (16, 20)), (False, (13, 17))):
        coarse_BKhw = logits(2, 4, 5).requires_grad_()
        target_BHW = with_ignored(blobs(), IGNORE)
        enlarged_BKHW = interpolate(
            coarse_BKhw, size, mode="bilinear", align_corners=align_corners
        )[..., :12, :16]
        expected = call(subject, loss, enlarged_BKHW, target_BHW, IGNORE)
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
    and the numbers themselves do not matter.

    Mend: give instances_BHW the default None, which means that the data have none, and use the
    numbers only to tell objects apart.
    """
    loss = build(subject, IGNORE)
    if not takes_instances(loss):
        raise NotApplicable("it is no InstanceLoss: it does not ask for instances_BHW")
    logits_BKHW, target_BHW = logits(), with_ignored(blobs(), IGNORE)
    instances_BHW = instances_of(target_BHW)
    without = loss(logits_BKHW, target_BHW, None)
    require(bool(without.isfinite()), f"without instances it returns {without.item()}")
    numbered = loss(logits_BKHW, target_BHW, instances_BHW)
    other = loss(logits_BKHW, target_BHW, torch.where(instances_BHW > 0, instances_BHW + 1000, 0))
    require(
        torch.allclose(numbered, other, rtol=1e-5, atol=1e-6),
        f"objects numbered otherwise change the value from {numbered} to {other}",
    )


CAPABILITY_CHECKS: tuple[Check, ...] = (
    fused_with_itself_adds_up,
    coarse_logits_are_enlarged,
    instances_are_optional,
)
