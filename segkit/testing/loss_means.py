"""Checks of what a loss is a mean of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segkit.testing.examples import (
    CLASSES,
    IGNORE,
    blobs,
    with_ignored,
)
from segkit.testing.loss_calls import build, call, logits, value_of
from segkit.testing.subject import Check, Subject, require

# Sums in another order, and the small numbers that keep a division finite.
VALUE_TOLERANCE = 2e-3


def mean_runs_over_valid_pixels(subject: Subject) -> None:
    """The value is that of the valid pixels: rows that are ignored could as well not be there, one
    image more with every pixel ignored changes nothing, and where the loss is a mean over pixels,
    it is over those of the whole batch, not a mean of the images' means.

    Mend: cost_BHW[valid_BHW].sum() / valid_BHW.sum().clamp_min(1), over the batch at once: no
    .mean() over all pixels, over dimension 0, or image by image.
    """
    loss = build(subject, IGNORE)
    logits_BKHW, target_BHW = logits(), blobs()
    lower_BHW = target_BHW.clone()
    lower_BHW[:, 8:] = IGNORE
    cut = value_of(subject, loss, logits_BKHW[:, :, :8], target_BHW[:, :8])
    masked = value_of(subject, loss, logits_BKHW, lower_BHW)
    _require_equal(cut, masked, "rows that are ignored, instead of cut off, change the value")
    first_BHW = torch.stack([target_BHW[0], torch.full_like(target_BHW[0], IGNORE)])
    alone = value_of(subject, loss, logits_BKHW[:1], target_BHW[:1])
    with_ignored_image = value_of(subject, loss, logits_BKHW, first_BHW)
    _require_equal(alone, with_ignored_image, "one more image, all ignored, changes the value")
    if _is_mean_over_pixels(subject, loss, logits_BKHW[:1], target_BHW[:1]):
        targets = _uneven(target_BHW)
        # The second image costs more by far, or the two means would not differ.
        logits_BKHW = torch.cat([logits_BKHW[:1], 4 * logits_BKHW[1:]])
        one, other = (
            value_of(subject, loss, logits_BKHW[i : i + 1], each) for i, each in enumerate(targets)
        )
        pixels = [int((each != IGNORE).sum()) for each in targets]
        found = value_of(subject, loss, logits_BKHW, torch.cat(targets))
        due = (one * pixels[0] + other * pixels[1]) / sum(pixels)
        require(
            _near(due, found),
            f"two images with {pixels[0]} and {pixels[1]} valid pixels cost {one:.4g} and "
            f"{other:.4g} alone, and {found:.4g} together; the mean over all pixels is {due:.4g}",
        )


def size_and_order_of_a_batch_do_not_matter(subject: Subject) -> None:
    """The same images in another order have the same value; every image twice, or every image
    above itself, changes it by less than a quarter: it is a mean, not a sum.

    Mend: divide by the number of valid pixels, treat all images of a batch alike, and squeeze no
    dimension (a batch may hold one image).
    """
    loss = build(subject, IGNORE)
    logits_BKHW, target_BHW = logits(3), with_ignored(blobs(3), IGNORE)
    value = value_of(subject, loss, logits_BKHW, target_BHW)
    turned = value_of(subject, loss, logits_BKHW.flip(0), target_BHW.flip(0))
    _require_equal(value, turned, "another order of the batch changes the value")
    for dimension, label in ((0, "every image twice"), (1, "every image above itself")):
        twice = value_of(
            subject,
            loss,
            torch.cat([logits_BKHW] * 2, dim=dimension and 2),
            torch.cat([target_BHW] * 2, dim=dimension),
        )
        far = abs(twice - value) > 0.25 * abs(value)
        require(not far, f"{label} turns {value:.4g} into {twice:.4g}")


def no_shape_is_special(subject: Subject) -> None:
    """One image, two classes, a height of as many pixels as classes: finite values, gradients of
    the logits' shape, and the same value when height and width change places.

    Mend: name dimensions by number (dim=1 for the classes), never by size, and call neither
    squeeze() nor view(-1) over more than one of them.
    """
    for classes in (2, CLASSES):
        loss = subject.build(num_classes=classes, ignore_index=IGNORE)
        logits_BKHW = torch.randn(1, classes, classes, 12, requires_grad=True)
        target_BHW = torch.arange(12 * classes).reshape(1, classes, 12) // 3 % classes
        target_BHW[..., -1] = IGNORE
        shape = f"one image of {classes} x 12 pixels and {classes} classes"
        value = call(subject, loss, logits_BKHW, target_BHW, IGNORE, classes)
        require(value.ndim == 0 and bool(value.isfinite()), f"{shape} gives {value}")
        (gradient_BKHW,) = torch.autograd.grad(value, logits_BKHW)
        finite = bool(gradient_BKHW.isfinite().all())
        require(finite, f"{shape} gets a gradient that is not finite")
        turned = call(subject, loss, logits_BKHW.mT, target_BHW.mT, IGNORE, classes)
        _require_equal(value.item(), turned.item(), f"{shape}: turned by 90 degrees, they change")
        taller_BHW = torch.cat([target_BHW, torch.full_like(target_BHW, IGNORE)], dim=1)
        doubled_BKHW = torch.cat([logits_BKHW] * 2, dim=2)
        taller = call(subject, loss, doubled_BKHW, taller_BHW, IGNORE, classes)
        _require_equal(value.item(), taller.item(), f"{shape}: with ignored rows more, they change")


MEAN_CHECKS: tuple[Check, ...] = (
    mean_runs_over_valid_pixels,
    size_and_order_of_a_batch_do_not_matter,
    no_shape_is_special,
)


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= VALUE_TOLERANCE * max(abs(one), 0.01)


def _require_equal(one: float, other: float, cause: str) -> None:
    require(_near(one, other), f"{cause} from {one:.6g} to {other:.6g}")


def _is_mean_over_pixels(
    subject: Subject, loss: nn.Module, logits_BKHW: Tensor, target_BHW: Tensor
) -> bool:
    """Whether an image's value is the mean of its parts' values, wherever it is cut."""
    whole = value_of(subject, loss, logits_BKHW, target_BHW)
    height = target_BHW.shape[1]
    # At several cuts, and exactly: at one of them another loss may come near it by chance.
    for cut in (height // 4, height // 3, height // 2):
        upper = value_of(subject, loss, logits_BKHW[:, :, :cut], target_BHW[:, :cut])
        lower = value_of(subject, loss, logits_BKHW[:, :, cut:], target_BHW[:, cut:])
        if abs(cut * upper + (height - cut) * lower - height * whole) > 1e-4 * abs(height * whole):
            return False
    return True


def _uneven(target_BHW: Tensor) -> list[Tensor]:
    """The first image, all valid, and the second with three rows of four ignored."""
    second_1HW = target_BHW[1:].clone()
    second_1HW[:, target_BHW.shape[1] // 4 :] = IGNORE
    return [target_BHW[:1], second_1HW]
