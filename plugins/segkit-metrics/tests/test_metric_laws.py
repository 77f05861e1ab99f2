"""Laws: splitting, order, merging, renumbering, ignoring; perfect, disjoint, absent."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torch.nn import functional as F

import segkit

CLASSES = 4
IGNORE = 255
COUNTED = ["miou", "iou", "dice", "precision", "recall", "pixel_accuracy", "frequency_weighted_iou"]
OBJECTS = ["seg", "ap", "pq"]
SHAPED = ["boundary_iou(width=1)", "hausdorff95", *OBJECTS]
ALL = [*COUNTED, "miou_image", "ece", "ece(bins=4)", *SHAPED, "iou(classes=[1, 3])"]
BEST = {"hausdorff95": 0.0, "ece": 0.0, "ece(bins=4)": 0.0}
Batch = tuple[Tensor, Tensor]


def build(expression: str, classes: int = CLASSES):
    return segkit.build_metric(expression, num_classes=classes, ignore_index=IGNORE)


def scores(expression: str, *batches: Batch, classes: int = CLASSES) -> dict[str, float]:
    """What the metric says after these batches of labels, given as certain logits where it must."""
    metric = build(expression, classes)
    for label_BHW, target_BHW in batches:
        metric.update(as_taken(metric, label_BHW, classes), target_BHW)
    return dict(metric.compute())


def as_taken(metric, label_BHW: Tensor, classes: int) -> Tensor:
    if not takes_logits(metric):
        return label_BHW
    # Certainty varies from pixel to pixel with the pixel's own content only.
    height_B1HW = 1.0 + label_BHW[:, None] + 3 * (label_BHW[:, None] == label_BHW[:, None, :1])
    return height_B1HW * F.one_hot(label_BHW, classes).movedim(-1, 1)


def takes_logits(metric) -> bool:
    return getattr(metric, "takes", "labels") == "logits"


def first(found: dict[str, float]) -> float:
    return next(iter(found.values()))


def same(one: dict[str, float], other: dict[str, float]) -> None:
    assert one == pytest.approx(other, rel=1e-12, abs=1e-12, nan_ok=True)


def images(seed: int, count: int = 5, top: int = CLASSES) -> Batch:
    """Random patches, a prediction that is right in most places, and some ignored pixels."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, top, (count, 4, 5), generator=generator)
    target_BHW = coarse.repeat_interleave(3, dim=1).repeat_interleave(2, dim=2)
    wrong_BHW = torch.rand(target_BHW.shape, generator=generator) < 0.3
    label_BHW = torch.where(wrong_BHW, (target_BHW + 1) % top, target_BHW)
    dropped_BHW = torch.rand(target_BHW.shape, generator=generator) < 0.2
    return label_BHW, target_BHW.masked_fill(dropped_BHW, IGNORE)


def pieces(batch: Batch, *parts: list[int]) -> list[Batch]:
    return [(batch[0][part], batch[1][part]) for part in parts]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("expression", ALL)
def test_splitting_and_order_do_not_matter(expression, seed):
    batch = images(seed)
    whole = scores(expression, batch)
    same(scores(expression, *pieces(batch, [0], [1, 2, 3], [4])), whole)
    same(scores(expression, *pieces(batch, [4, 2], [3], [0, 1])), whole)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("expression", ALL)
def test_adding_up_the_states_of_two_processes_merges_them(expression, seed):
    batch = images(seed)
    halves = [build(expression) for _ in range(2)]
    for metric, (label_BHW, target_BHW) in zip(
        halves, pieces(batch, [0, 3], [1, 2, 4]), strict=True
    ):
        metric.update(as_taken(metric, label_BHW, CLASSES), target_BHW)
    for order in (0, 1):
        sums = {name: tensor.clone() for name, tensor in halves[order].state.items()}
        merged = build(expression)
        merged.update(as_taken(merged, batch[0], CLASSES), batch[1])
        for name, tensor in merged.state.items():
            tensor.copy_(sums[name] + halves[1 - order].state[name])
        same(dict(merged.compute()), scores(expression, batch))


# What looks at labels, and names no class in its options.
RENUMBERED = [*COUNTED, "miou_image", "boundary_iou(width=1)", "hausdorff95"]


@pytest.mark.parametrize("expression", RENUMBERED)
def test_renumbering_the_classes_renumbers_the_scores(expression):
    label_BHW, target_BHW = images(0)
    new_K = torch.tensor([2, 0, 3, 1])
    renamed = new_K[label_BHW], torch.where(target_BHW == IGNORE, IGNORE, new_K[target_BHW % 255])
    usual, other = scores(expression, (label_BHW, target_BHW)), scores(expression, renamed)
    name = expression.partition("(")[0]
    moved = {f"{name}/{k}": f"{name}/{new_K[k]}" for k in range(CLASSES)}
    same({key: other[moved.get(key, key)] for key in usual}, usual)


def test_renumbering_the_classes_leaves_the_calibration_error():
    label_BHW, target_BHW = images(0)
    new_K = torch.tensor([2, 0, 3, 1])
    renamed_BHW = torch.where(target_BHW == IGNORE, IGNORE, new_K[target_BHW % 255])
    usual, other = build("ece"), build("ece")
    logits_BKHW = as_taken(usual, label_BHW, CLASSES)
    usual.update(logits_BKHW, target_BHW)
    other.update(logits_BKHW[:, new_K.argsort()], renamed_BHW)
    # Softmax adds up the classes in another order.
    assert usual.compute()["ece"] == pytest.approx(other.compute()["ece"], abs=1e-7)


@settings(max_examples=40, deadline=None)
@given(arrays(np.int64, (2, 30), elements=st.integers(0, CLASSES)))
def test_ignoring_pixels_equals_deleting_them(pairs):
    label_N, target_N = torch.from_numpy(pairs)
    label_N, target_N = label_N % CLASSES, torch.where(target_N == CLASSES, IGNORE, target_N)
    kept_N = target_N != IGNORE
    for expression in [*COUNTED, "miou_image", "ece"]:
        ignoring, deleting = build(expression), build(expression)
        prediction = as_taken(ignoring, label_N[None, None], CLASSES)
        ignoring.update(prediction, target_N[None, None])
        deleting.update(prediction[..., kept_N], target_N[kept_N][None, None])
        same(ignoring.compute(), deleting.compute())


@pytest.mark.parametrize("expression", SHAPED)
def test_ignoring_rows_equals_cutting_them_off(expression):
    label_BHW, target_BHW = images(1)
    target_BHW[:, 9:] = IGNORE
    # Every class on both sides of every image: the diagonal has no part then.
    label_BHW[:, 0, :4] = target_BHW[:, 0, :4] = torch.arange(4)
    cut = label_BHW[:, :9], target_BHW[:, :9]
    same(scores(expression, (label_BHW, target_BHW)), scores(expression, cut))


@pytest.mark.parametrize("expression", ALL)
def test_predictions_at_ignored_pixels_do_not_matter(expression):
    label_BHW, target_BHW = images(2)
    other_BHW = torch.where(target_BHW == IGNORE, (label_BHW + 1) % CLASSES, label_BHW)
    metric = build(expression)
    prediction = as_taken(metric, label_BHW, CLASSES)
    usual = scores(expression, (label_BHW, target_BHW))
    if prediction.dim() == 4:
        ignored_B1HW = (target_BHW == IGNORE)[:, None]
        metric.update(prediction.masked_fill(ignored_B1HW, math.nan), target_BHW)
    else:
        metric.update(other_BHW, target_BHW)
    same(dict(metric.compute()), usual)


@pytest.mark.parametrize("expression", ALL)
def test_a_perfect_prediction_scores_exactly_the_best(expression):
    target_BHW = images(3)[1]
    label_BHW = torch.where(target_BHW == IGNORE, 0, target_BHW)
    metric = build(expression)
    prediction = label_BHW
    if takes_logits(metric):
        prediction = 1e4 * F.one_hot(label_BHW, CLASSES).movedim(-1, 1).float()
    metric.update(prediction, target_BHW)
    found = metric.compute()
    counts = {"miou_image/images": 5.0, "seg/objects": found.get("seg/objects")}
    for name, value in found.items():
        assert value == counts.get(name, BEST.get(expression, 1.0))


@pytest.mark.parametrize("expression", [e for e in ALL if e not in ("hausdorff95", *OBJECTS)])
def test_a_disjoint_prediction_scores_exactly_the_worst(expression):
    """Every pixel holds a class that the truth holds nowhere."""
    target_BHW = torch.randint(0, 2, (2, 6, 8), generator=torch.Generator().manual_seed(0))
    label_BHW = target_BHW + 2
    metric = build(expression)
    prediction = label_BHW
    if takes_logits(metric):
        prediction = 1e4 * F.one_hot(label_BHW, CLASSES).movedim(-1, 1).float()
    metric.update(prediction, target_BHW)
    worst = 1.0 if "ece" in expression else 0.0
    assert first(metric.compute()) == worst


@pytest.mark.parametrize("expression", ALL)
def test_a_class_absent_from_both_is_not_a_number_and_leaves_the_mean(expression):
    batch = images(4, top=3)
    few, more = (scores(expression, batch, classes=classes) for classes in (4, 6))
    if "classes" not in expression:
        few = scores(expression, batch, classes=3)
    # Logits of more classes are other probabilities: ece has no class of its own.
    if "ece" not in expression:
        assert first(more) == pytest.approx(first(few), rel=1e-12)
    name = expression.partition("(")[0]
    for absent in range(3, 6):
        assert math.isnan(more.get(f"{name}/{absent}", math.nan))


@pytest.mark.parametrize("expression", ALL)
def test_without_a_valid_pixel_every_score_is_not_a_number(expression):
    nothing = torch.full((2, 6, 8), IGNORE)
    for batches in ([], [(torch.zeros_like(nothing), nothing)]):
        assert all(math.isnan(value) for value in scores(expression, *batches).values())


@pytest.mark.parametrize("expression", ALL)
def test_reset_forgets_everything(expression):
    metric = build(expression)
    label_BHW, target_BHW = images(5)
    metric.update(as_taken(metric, label_BHW, CLASSES), target_BHW)
    metric.reset()
    assert all(math.isnan(value) for value in metric.compute().values())
    assert not any(tensor.any() for tensor in metric.state.values())


@pytest.mark.parametrize("expression", ALL)
def test_the_labels_integer_type_does_not_matter(expression):
    label_BHW, target_BHW = images(6)
    usual = scores(expression, (label_BHW, target_BHW))
    for dtype in (torch.uint8, torch.int16, torch.int32):
        metric = build(expression)
        prediction = as_taken(metric, label_BHW, CLASSES)
        if prediction.dim() == 3:
            prediction = prediction.to(dtype)
        metric.update(prediction, target_BHW.to(dtype))
        same(dict(metric.compute()), usual)


@pytest.mark.parametrize("expression", ALL)
def test_the_convention_is_one_line_for_beside_the_number(expression):
    convention = build(expression).convention
    assert 30 < len(convention) < 300
    assert "\n" not in convention
