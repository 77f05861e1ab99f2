"""What holds for every loss, in every mode: ignored pixels, absent classes, precision, copies."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

import segkit

CLASSES = 4
IGNORE = 255
INFINITE, NAN = float("inf"), float("nan")

MULTICLASS = [
    "ce",
    "ce(class_weights=[1, 2, 0.5, 3], label_smoothing=0.1)",
    "dice",
    "dice(smooth=1, squared=true, classes=[1, 2, 3])",
    "focal",
    "focal(gamma=0.5, class_weights=[1, 2, 0.5, 3])",
    "tversky",
    "focal_tversky",
    "jaccard",
    "lovasz",
    "lovasz(classes=[1, 2])",
    "boundary",
    "weighted_ce",
    "weighted_ce(class_weights=balanced, sigma=2)",
    "ohem",
    "0.5*dice + ce",
]
MULTILABEL = [
    f"{name}(multilabel=true)"
    for name in ("ce", "dice", "focal", "tversky", "focal_tversky", "jaccard", "lovasz", "ohem")
] + ["boundary(multilabel=true, normalize=true)"]
ALL = MULTICLASS + MULTILABEL


def build(expression: str, ignore_index: int | None = IGNORE, classes: int = CLASSES):
    return segkit.build_loss(expression, num_classes=classes, ignore_index=ignore_index)


def example(
    expression: str, *, ignored: float = 0.25, size: tuple[int, int] = (9, 13), seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Random logits and truth with every class, a share of it ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits_BKHW = torch.randn(2, CLASSES, *size, generator=generator) * 2
    shape = (2, CLASSES, *size) if "multilabel" in expression else (2, *size)
    top = 2 if "multilabel" in expression else CLASSES
    target = torch.randint(0, top, shape, generator=generator)
    return logits_BKHW, target.masked_fill(torch.rand(shape, generator=generator) < ignored, IGNORE)


def at_ignored(logits_BKHW: Tensor, target: Tensor, value: float) -> Tensor:
    ignored = target == IGNORE
    return logits_BKHW.masked_fill(ignored if target.dim() == 4 else ignored[:, None], value)


def value_and_gradient(loss: torch.nn.Module, logits_BKHW: Tensor, target: Tensor):
    leaf_BKHW = logits_BKHW.clone().requires_grad_()
    value = loss(leaf_BKHW, target)
    (gradient_BKHW,) = torch.autograd.grad(value, leaf_BKHW)
    return value.detach(), gradient_BKHW


@pytest.mark.parametrize("wild", [1e3, -1e30, INFINITE, -INFINITE, NAN])
@pytest.mark.parametrize("expression", ALL)
def test_ignored_pixels_move_neither_value_nor_gradient(expression, wild):
    logits_BKHW, target = example(expression)
    loss = build(expression)
    quiet, quiet_gradient_BKHW = value_and_gradient(loss, logits_BKHW, target)
    loud, loud_gradient_BKHW = value_and_gradient(
        loss, at_ignored(logits_BKHW, target, wild), target
    )
    assert torch.equal(loud, quiet)
    assert torch.equal(loud_gradient_BKHW, quiet_gradient_BKHW)
    assert torch.equal(at_ignored(loud_gradient_BKHW, target, 0), loud_gradient_BKHW)


# Divided by the image's diagonal, which cutting makes shorter.
@pytest.mark.parametrize("expression", [e for e in ALL if "normalize" not in e])
def test_ignoring_rows_equals_cutting_them_off(expression):
    logits_BKHW, target = example(expression)
    target[..., -3:, :] = IGNORE
    kept, cut = build(expression), build(expression)
    value, gradient_BKHW = value_and_gradient(kept, logits_BKHW, target)
    cut_value, cut_gradient_BKHW = value_and_gradient(
        cut, logits_BKHW[..., :-3, :], target[..., :-3, :]
    )
    torch.testing.assert_close(value, cut_value)
    torch.testing.assert_close(gradient_BKHW[..., :-3, :], cut_gradient_BKHW)


@pytest.mark.parametrize("expression", ALL)
def test_a_batch_with_every_pixel_ignored_costs_nothing_and_stays_in_the_graph(expression):
    logits_BKHW, target = example(expression)
    logits_BKHW[0] = NAN
    value, gradient_BKHW = value_and_gradient(
        build(expression), logits_BKHW, torch.full_like(target, IGNORE)
    )
    assert value == 0
    assert not gradient_BKHW.any()


@pytest.mark.parametrize("expression", ALL)
def test_the_gradient_is_the_difference_quotient(expression):
    logits_BKHW, target = example(expression, size=(4, 5))
    loss = build(expression)
    leaf_BKHW = logits_BKHW.double().requires_grad_()
    assert loss(leaf_BKHW, target).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda x_BKHW: loss(x_BKHW, target), leaf_BKHW)


@pytest.mark.parametrize("expression", ALL)
def test_autocast_changes_nothing_but_the_logits_own_rounding(expression):
    logits_BKHW, target = example(expression, size=(32, 32))
    loss = build(expression)
    exact = loss(logits_BKHW.double(), target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = loss(logits_BKHW, target)
        rounded = loss(logits_BKHW.bfloat16(), target)
    assert under_autocast.dtype == rounded.dtype == torch.float32
    assert torch.equal(under_autocast, loss(logits_BKHW, target))
    assert torch.equal(rounded, loss(logits_BKHW.bfloat16().float(), target))
    # Stated tolerance: 1 % for bfloat16 logits, which carry 8 bits.
    torch.testing.assert_close(rounded.double(), exact, rtol=0.01, atol=1e-3)


@pytest.mark.parametrize("expression", ALL)
def test_float32_is_within_a_millionth_of_float64(expression):
    logits_BKHW, target = example(expression, size=(64, 64))
    loss = build(expression)
    value = loss(logits_BKHW, target).double()
    torch.testing.assert_close(value, loss(logits_BKHW.double(), target), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("expression", ALL)
def test_certain_logits_leave_value_and_gradient_finite(expression):
    _, target = example(expression)
    for sign in (1, -1):
        truth = target if target.dim() == 4 else one_hot(target)
        logits_BKHW = sign * 1e4 * (2 * truth.clamp_max(1).float() - 1)
        value, gradient_BKHW = value_and_gradient(build(expression), logits_BKHW, target)
        assert value.isfinite()
        assert gradient_BKHW.isfinite().all()


@pytest.mark.parametrize("expression", ALL)
def test_calls_and_copies_agree_to_the_last_bit(expression):
    logits_BKHW, target = example(expression)
    kept = logits_BKHW.clone(), target.clone()
    loss = build(expression)
    first = value_and_gradient(loss, logits_BKHW, target)
    for again in (loss, copy.deepcopy(loss), loss.train(), loss.eval()):
        value, gradient_BKHW = value_and_gradient(again, logits_BKHW, target)
        assert torch.equal(value, first[0])
        assert torch.equal(gradient_BKHW, first[1])
    assert not loss.state_dict()
    assert torch.equal(logits_BKHW, kept[0])
    assert torch.equal(target, kept[1])


NAME_NO_CLASS = [e for e in ALL if "class_weights" not in e and "classes=" not in e]


@pytest.mark.parametrize("expression", [e for e in NAME_NO_CLASS if "weighted" not in e])
def test_the_order_of_the_classes_does_not_matter(expression):
    logits_BKHW, target = example(expression)
    order = torch.tensor([2, 0, 3, 1])
    if target.dim() == 4:
        other = target[:, order]
    else:
        other = torch.where(target == IGNORE, IGNORE, order.argsort()[target.clamp_max(3)])
    value = build(expression)(logits_BKHW, target)
    torch.testing.assert_close(build(expression)(logits_BKHW[:, order], other), value)


# The mean over maps and pixels, and that of boundary, divide by the number of classes.
MEANS_OVER_CLASSES = [e for e in MULTILABEL if e.startswith(("ce", "focal(", "ohem"))]
CLASS_MAY_JOIN = [e for e in ALL if "boundary" not in e and "class_weights=[" not in e]


@pytest.mark.parametrize("expression", [e for e in CLASS_MAY_JOIN if e not in MEANS_OVER_CLASSES])
def test_a_class_that_is_neither_true_nor_predicted_changes_nothing(expression):
    logits_BKHW, target = example(expression)
    longer_BKHW = torch.cat((logits_BKHW, torch.full_like(logits_BKHW[:, :1], -1e4)), dim=1)
    more = torch.cat((target, 0 * target[:, :1]), dim=1) if target.dim() == 4 else target
    value, gradient_BKHW = value_and_gradient(build(expression), logits_BKHW, target)
    longer = value_and_gradient(build(expression, classes=CLASSES + 1), longer_BKHW, more)
    torch.testing.assert_close(longer[0], value)
    torch.testing.assert_close(longer[1][:, :CLASSES], gradient_BKHW)
    assert not longer[1][:, CLASSES].any()


OVERLAP = ["dice", "jaccard", "tversky", "focal_tversky", "lovasz", "dice(squared=true)"]


@pytest.mark.parametrize("expression", OVERLAP)
def test_answering_with_an_absent_class_costs_everything(expression):
    target_BHW = torch.zeros(1, 8, 8, dtype=torch.int64)
    logits_BKHW = torch.zeros(1, CLASSES, 8, 8)
    logits_BKHW[:, 3] = 50
    assert build(expression)(logits_BKHW, target_BHW).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky", "focal_tversky", "lovasz"])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_foreground_seen_in_an_empty_image_costs_its_share(name, share):
    """Wherever the background does not count itself, so that nothing else could cost."""
    seen_HW = torch.zeros(8, 8)
    seen_HW[: int(8 * share)] = 1
    certain_HW = 60 * seen_HW - 30
    empty_BHW = torch.zeros(1, 8, 8, dtype=torch.int64)

    two_BKHW = torch.stack((-certain_HW, certain_HW))[None]
    foreground_only = build(f"{name}(classes=[1])", classes=2)
    assert foreground_only(two_BKHW, empty_BHW).item() == pytest.approx(share, abs=1e-6)

    one_map = build(f"{name}(multilabel=true)", classes=1)
    assert one_map(certain_HW[None, None], empty_BHW[:, None]).item() == pytest.approx(share)

    ignored_background = build(f"{name}(classes=[1])", classes=2, ignore_index=0)
    assert ignored_background(two_BKHW, empty_BHW).item() == 0


@pytest.mark.parametrize("expression", ALL)
def test_the_truth_costs_less_than_anything_else(expression):
    _, target = example(expression, ignored=0)
    truth_BKHW = (target if target.dim() == 4 else one_hot(target)).float()
    loss = build(expression)
    best = loss(40 * truth_BKHW - 20, target)
    for share in (0.1, 0.5, 1.0):
        wrong_BHW = torch.rand(truth_BKHW[:, :1].shape) < share
        worse_BKHW = torch.where(wrong_BHW, truth_BKHW.roll(1, dims=1), truth_BKHW)
        if target.dim() == 4:
            worse_BKHW = torch.where(wrong_BHW, 1 - truth_BKHW, truth_BKHW)
        assert loss(40 * worse_BKHW - 20, target) > best


@pytest.mark.parametrize("name", [each.partition("(")[0] for each in MULTILABEL])
def test_class_labels_serve_a_multilabel_loss_as_one_map_a_class(name):
    logits_BKHW, target_BHW = example(name)
    loss = build(f"{name}(multilabel=true)")
    ignored_BKHW = (target_BHW == IGNORE)[:, None].expand_as(logits_BKHW)
    target_BKHW = one_hot(target_BHW).masked_fill(ignored_BKHW, IGNORE)
    assert torch.equal(loss(logits_BKHW, target_BHW), loss(logits_BKHW, target_BKHW))
    assert torch.equal(loss(logits_BKHW, target_BHW), loss(logits_BKHW, target_BKHW.float()))


@pytest.mark.parametrize("expression", ALL)
def test_the_targets_integer_type_does_not_matter(expression):
    logits_BKHW, target = example(expression)
    value = build(expression)(logits_BKHW, target)
    for dtype in (torch.uint8, torch.int16, torch.int32):
        assert torch.equal(build(expression)(logits_BKHW, target.to(dtype)), value)
    signed = target.masked_fill(target == IGNORE, -1).to(torch.int8)
    assert torch.equal(build(expression, ignore_index=-1)(logits_BKHW, signed), value)


def test_large_class_counts_and_single_pixels_work():
    generator = torch.Generator().manual_seed(0)
    for classes, height, width in ((150, 3, 5), (2, 1, 1), (2, 1, 7)):
        logits_BKHW = torch.randn(1, classes, height, width, generator=generator)
        target_BHW = torch.randint(0, classes, (1, height, width), generator=generator)
        for expression in MULTICLASS:
            if "[" not in expression:
                value = build(expression, None, classes)(logits_BKHW, target_BHW)
                assert value.isfinite()


def one_hot(target_BHW: Tensor) -> Tensor:
    class_K11 = torch.arange(CLASSES)[:, None, None]
    return (target_BHW[:, None] == class_K11).long()


@pytest.mark.parametrize("wild", [NAN, INFINITE])
@pytest.mark.parametrize("expression", ALL)
def test_logits_that_are_no_numbers_are_never_a_small_loss(expression, wild):
    """A network that diverged shows: one such logit at a pixel that counts, and all of them."""
    if wild == INFINITE and "multilabel" in expression:
        pytest.skip("the sigmoid of an infinite logit is 1")
    logits_BKHW, target = example(expression, ignored=0)
    for spoilt_BKHW in (torch.full_like(logits_BKHW, wild), logits_BKHW.clone()):
        spoilt_BKHW[0, :, 0, 0] = wild
        assert build(expression)(spoilt_BKHW, target).isnan()


@pytest.mark.parametrize("expression", MULTICLASS)
def test_where_nothing_may_wait_a_label_out_of_range_makes_the_loss_not_a_number(
    expression, monkeypatch
):
    """As on a CUDA device, where cross_entropy itself would end the process."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    logits_BKHW, target_BHW = example(expression)
    assert build(expression)(logits_BKHW, target_BHW).isfinite()
    target_BHW[0, 2, 3] = CLASSES
    assert build(expression)(logits_BKHW, target_BHW).isnan()


@pytest.mark.parametrize("expression", ["ce", "focal", "weighted_ce"])
def test_class_weights_are_exact_in_float64(expression):
    """Weights of 0.1 and 0.7, which float32 rounds at the eighth digit."""
    logits_BKHW, target_BHW = example(expression)
    weighted, plain = (
        segkit.build_loss(
            expression,
            num_classes=CLASSES,
            ignore_index=IGNORE,
            options={"class_weights": weights} | ({"w0": 0.0} if "_" in expression else {}),
        )
        for weights in ((0.1, 0.7, 0.1, 0.3), None)
    )
    total, weight = 0.0, 0.0
    for label, each in enumerate((0.1, 0.7, 0.1, 0.3)):
        only_BHW = torch.where(target_BHW == label, target_BHW, IGNORE)
        pixels = int((target_BHW == label).sum())
        total += each * pixels * float(plain(logits_BKHW.double(), only_BHW))
        weight += each * pixels
    found = float(weighted.double()(logits_BKHW.double(), target_BHW))
    assert found == pytest.approx(total / weight, rel=1e-13)
