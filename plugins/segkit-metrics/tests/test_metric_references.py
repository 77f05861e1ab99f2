"""Values against scikit-learn, torchmetrics, SciPy, plain loops and hand-made cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from segkit_metrics.boundaries import distance_to, hausdorff95, surface
from segkit_metrics.maps import near_boundary
from segkit_metrics.objects import matched_jaccard
from sklearn import metrics as sklearn_metrics
from torchmetrics.classification import (
    MulticlassCalibrationError,
    MulticlassF1Score,
    MulticlassJaccardIndex,
)

import segkit

CLASSES = 5
IGNORE = 255


def build(expression: str, classes: int = CLASSES, ignore_index: int | None = IGNORE):
    return segkit.build_metric(expression, num_classes=classes, ignore_index=ignore_index)


def example(seed: int, shape: tuple[int, ...] = (3, 12, 17)) -> tuple[torch.Tensor, torch.Tensor]:
    """Prediction and truth in which every class appears, a tenth of it ignored."""
    generator = torch.Generator().manual_seed(seed)
    label_BHW, target_BHW = torch.randint(0, CLASSES, (2, *shape), generator=generator)
    right_BHW = torch.rand(shape, generator=generator) < 0.5
    dropped_BHW = torch.rand(shape, generator=generator) < 0.1
    return torch.where(right_BHW, target_BHW, label_BHW), target_BHW.masked_fill(
        dropped_BHW, IGNORE
    )


def score(expression: str, label_BHW: torch.Tensor, target_BHW: torch.Tensor) -> dict[str, float]:
    metric = build(expression)
    metric.update(label_BHW, target_BHW)
    return dict(metric.compute())


@pytest.mark.parametrize("seed", range(5))
def test_overlap_scores_equal_scikit_learn(seed):
    label_BHW, target_BHW = example(seed)
    valid_BHW = target_BHW != IGNORE
    true, predicted = target_BHW[valid_BHW].numpy(), label_BHW[valid_BHW].numpy()
    references = {
        "iou": sklearn_metrics.jaccard_score,
        "dice": sklearn_metrics.f1_score,
        "precision": sklearn_metrics.precision_score,
        "recall": sklearn_metrics.recall_score,
    }
    for name, reference in references.items():
        expected_K = reference(true, predicted, average=None)
        found = score(name, label_BHW, target_BHW)
        assert [found[f"{name}/{k}"] for k in range(CLASSES)] == pytest.approx(expected_K.tolist())
        assert next(iter(found.values())) == pytest.approx(expected_K.mean())
    assert score("miou", label_BHW, target_BHW)["miou"] == pytest.approx(
        sklearn_metrics.jaccard_score(true, predicted, average="macro")
    )
    assert score("frequency_weighted_iou", label_BHW, target_BHW) == {
        "frequency_weighted_iou": pytest.approx(
            sklearn_metrics.jaccard_score(true, predicted, average="weighted")
        )
    }
    assert score("pixel_accuracy", label_BHW, target_BHW) == {
        "pixel_accuracy": pytest.approx(sklearn_metrics.accuracy_score(true, predicted))
    }


@pytest.mark.parametrize("seed", range(3))
def test_dataset_iou_and_dice_equal_torchmetrics_where_every_class_appears(seed):
    label_BHW, target_BHW = example(seed)
    for name, reference in (("miou", MulticlassJaccardIndex), ("dice", MulticlassF1Score)):
        theirs = reference(CLASSES, average="macro", ignore_index=IGNORE)
        found = score(name, label_BHW, target_BHW)[name]
        assert found == pytest.approx(theirs(label_BHW, target_BHW).item(), rel=1e-6)


@pytest.mark.parametrize("bins", [15, 7])
def test_calibration_error_equals_torchmetrics_and_a_loop(bins):
    generator = torch.Generator().manual_seed(0)
    logits_BKHW = 2 * torch.randn(2, CLASSES, 20, 20, generator=generator)
    target_BHW = torch.randint(0, CLASSES, (2, 20, 20), generator=generator)
    target_BHW[:, :3] = IGNORE
    found = score(f"ece(bins={bins})", logits_BKHW, target_BHW)["ece"]
    theirs = MulticlassCalibrationError(CLASSES, n_bins=bins, ignore_index=IGNORE)
    assert found == pytest.approx(theirs(logits_BKHW, target_BHW).item(), abs=1e-6)

    probability_NK = logits_BKHW.double().softmax(1).movedim(1, -1)[target_BHW != IGNORE].numpy()
    true_N = target_BHW[target_BHW != IGNORE].numpy()
    total = 0.0
    for low in range(bins):
        top_N = probability_NK.max(1)
        inside_N = (top_N > low / bins) & (top_N <= (low + 1) / bins)
        right_N = probability_NK.argmax(1) == true_N
        total += abs(right_N[inside_N].sum() - top_N[inside_N].sum())
    assert found == pytest.approx(total / len(true_N), abs=1e-6)


def test_a_certainty_between_two_bins_falls_into_the_lower():
    """Two bins; certainty 1/2, right, and 1, wrong: (|1 - 1/2| + |0 - 1|) / 2."""
    logits_BKHW = torch.tensor([[0.0, 0.0], [0.0, 1e4]]).mT.reshape(1, 2, 1, 2)
    metric = build("ece(bins=2)", classes=2)
    metric.update(logits_BKHW, torch.tensor([[[0, 0]]]))
    assert metric.compute() == {"ece": 0.75}


def test_mean_iou_per_image_answers_another_question_than_that_of_the_data_set():
    """Image one: classes 0 and 1 at IoU 1/2 and 2/3. Image two: class 0 alone, perfect."""
    target_BHW = torch.tensor([[[0, 0, 1, 1]], [[0, 0, 0, 0]]])
    label_BHW = torch.tensor([[[0, 1, 1, 1]], [[0, 0, 0, 0]]])
    found = score("miou_image", label_BHW, target_BHW)
    assert found == {
        "miou_image": pytest.approx(((1 / 2 + 2 / 3) / 2 + 1) / 2),
        "miou_image/images": 2,
    }
    assert score("miou", label_BHW, target_BHW)["miou"] == pytest.approx((5 / 6 + 2 / 3) / 2)


def test_an_image_without_valid_pixels_is_in_no_per_image_mean():
    target_BHW = torch.tensor([[[0, 0]], [[IGNORE, IGNORE]]])
    found = score("miou_image", torch.tensor([[[0, 1]], [[0, 0]]]), target_BHW)
    assert found == {"miou_image": 0.25, "miou_image/images": 1}


@pytest.mark.parametrize("seed", range(4))
def test_mean_iou_per_image_equals_scikit_learn_image_by_image(seed):
    label_BHW, target_BHW = example(seed)
    target_BHW[0][target_BHW[0] == 2] = 1
    label_BHW[0][label_BHW[0] == 2] = 1
    each = []
    for label_HW, target_HW in zip(label_BHW, target_BHW, strict=True):
        valid_HW = target_HW != IGNORE
        each.append(
            sklearn_metrics.jaccard_score(target_HW[valid_HW], label_HW[valid_HW], average="macro")
        )
    found = score("miou_image", label_BHW, target_BHW)
    assert found == {"miou_image": pytest.approx(np.mean(each)), "miou_image/images": 3}


def test_never_predicting_a_class_leaves_its_precision_undefined():
    found = score("precision", torch.tensor([[[0, 0]]]), torch.tensor([[[0, 1]]]))
    assert found["precision"] == found["precision/0"] == 0.5
    assert math.isnan(found["precision/1"])


@pytest.mark.parametrize("seed", range(12))
def test_hausdorff_equals_all_pairs_of_surface_pixels(seed):
    generator = np.random.default_rng(seed)
    shape = generator.integers(1, 25, 2)
    one_HW, other_HW = generator.random((2, *shape)) < generator.choice([0.05, 0.5, 0.9])
    one_HW[0, 0] = other_HW[-1, -1] = True
    distance = cdist(*(np.argwhere(by_neighbours(mask_HW)) for mask_HW in (one_HW, other_HW)))
    there, back = (np.percentile(distance.min(axis), 95) for axis in (1, 0))
    assert hausdorff95(one_HW, other_HW) == pytest.approx(max(there, back), rel=1e-12)


def by_neighbours(mask_HW: np.ndarray) -> np.ndarray:
    padded_HW = np.pad(mask_HW, 1)
    height, width = mask_HW.shape
    around = [(0, 1), (2, 1), (1, 0), (1, 2)]
    inner = [padded_HW[y : y + height, x : x + width] for y, x in around]
    surface_HW = mask_HW & ~np.logical_and.reduce(inner)
    assert (surface(mask_HW) == surface_HW).all()
    return surface_HW


def test_hausdorff_of_a_shift_is_the_shift_and_of_a_missing_object_the_diagonal():
    target_BHW = torch.zeros(1, 30, 40, dtype=torch.int64)
    target_BHW[:, 10:14, 10:14] = 1
    found = score("hausdorff95", target_BHW.roll(3, dims=2), target_BHW)
    assert found["hausdorff95/1"] == 3
    missing = score("hausdorff95", torch.zeros_like(target_BHW), target_BHW)
    assert missing["hausdorff95/1"] == 50
    assert missing["hausdorff95"] == (50 + missing["hausdorff95/0"]) / 2
    assert math.isnan(missing["hausdorff95/2"])


def test_hausdorff_averages_over_images_first():
    target_BHW = torch.zeros(2, 30, 40, dtype=torch.int64)
    target_BHW[:, 10:14, 10:14] = 1
    label_BHW = torch.stack((target_BHW[0].roll(4, dims=1), target_BHW[1]))
    assert score("hausdorff95", label_BHW, target_BHW)["hausdorff95/1"] == 2


def test_boundary_iou_of_a_case_one_can_count():
    """Width 1 in 8x8: a 4x4 square has a rim of 12; shifted by one, the rims share 2 x 3 pixels.

    The union is 12 + 12 - 6 = 18. A square shifted by one keeps a plain IoU of 12/20.
    """
    target_BHW = torch.zeros(1, 8, 8, dtype=torch.int64)
    target_BHW[:, 2:6, 2:6] = 1
    found = score("boundary_iou(width=1)", target_BHW.roll(1, dims=2), target_BHW)
    assert found["boundary_iou/1"] == 6 / 18
    assert score("iou", target_BHW.roll(1, dims=2), target_BHW)["iou/1"] == 12 / 20


def test_boundary_iou_of_a_thin_object_is_its_iou():
    target_BHW = torch.zeros(1, 30, 30, dtype=torch.int64)
    target_BHW[:, 10:13, 4:20] = 1
    label_BHW = target_BHW.roll(2, dims=2)
    wide = score("boundary_iou(width=2)", label_BHW, target_BHW)["boundary_iou/1"]
    assert wide == score("iou", label_BHW, target_BHW)["iou/1"]


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("seed", range(4))
def test_near_a_boundary_means_another_label_within_the_width(seed, width):
    generator = np.random.default_rng(seed)
    label_HW = generator.choice([-1, 0, 0, 0, 0, 0, 2, 7], generator.integers(1, 15, 2))
    label_HW = label_HW.astype(np.int16).repeat(2, axis=0)
    found_HW = near_boundary(label_HW, width)
    padded_HW = np.pad(label_HW, width, constant_values=-1)
    for y, x in np.ndindex(label_HW.shape):
        window = padded_HW[y : y + 2 * width + 1, x : x + 2 * width + 1]
        assert found_HW[y, x] == (window != label_HW[y, x]).any()


def test_the_width_is_a_share_of_the_diagonal_and_at_least_a_pixel():
    """0.02 of the diagonal of 300x400 is 10 pixels; of 8x8 it is less than one."""
    for shape, ratio, width in (((300, 400), 0.02, 10), ((8, 8), 0.02, 1), ((30, 40), 0.1, 5)):
        label_BHW, target_BHW = example(0, (1, *shape))
        by_ratio = score(f"boundary_iou(ratio={ratio})", label_BHW, target_BHW)
        assert by_ratio == pytest.approx(
            score(f"boundary_iou(width={width})", label_BHW, target_BHW), nan_ok=True
        )


def seg(label_BHW, target_BHW, instances_BHW=None, expression="seg") -> dict[str, float]:
    metric = build(expression, classes=3)
    metric.update(label_BHW, target_BHW, instances_BHW)
    return dict(metric.compute())


def test_seg_of_a_case_one_can_count():
    """Cells of 4, 4 and 2 pixels: 3 found and 1 more claimed (3/5), exactly half (0), all (1)."""
    numbers = [7, 7, 7, 7, 0, 0, 0, 300, 300, 300, 300, 0, 5, 5]
    answer = [0, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1]
    instances_BHW, label_BHW = (torch.tensor(each)[None, None] for each in (numbers, answer))
    found = seg(label_BHW, (instances_BHW > 0).long(), instances_BHW)
    assert found == {"seg": pytest.approx((3 / 5 + 0 + 1) / 3), "seg/objects": 3}


def test_seg_of_touching_cells_answered_as_one_scores_only_the_larger():
    instances_BHW = torch.tensor([[[1, 1, 1, 2, 2]]])
    found = seg(torch.ones_like(instances_BHW), torch.ones_like(instances_BHW), instances_BHW)
    assert found["seg"] == pytest.approx((3 / 5 + 2 / 5) / 2)


def test_seg_without_instances_takes_the_regions_of_each_class():
    """Corners connect; another class is another object."""
    target_BHW = torch.tensor([[[1, 0, 0], [0, 1, 2], [0, 0, 2]]])
    assert seg(target_BHW, target_BHW) == {"seg": 1, "seg/objects": 2}
    missed_BHW = torch.where(target_BHW == 2, 0, target_BHW)
    assert seg(missed_BHW, target_BHW) == {"seg": 0.5, "seg/objects": 2}


def test_seg_leaves_ignored_pixels_out_of_every_object():
    target_BHW = torch.tensor([[[1, 1, IGNORE, IGNORE, 0]]])
    instances_BHW = torch.tensor([[[4, 4, 4, 9, 0]]])
    found = seg(torch.tensor([[[1, 1, 1, 1, 1]]]), target_BHW, instances_BHW)
    # The prediction falls apart at the ignored pixels, and cell 9 lies in them whole.
    assert found == {"seg": 1, "seg/objects": 1}


def test_seg_counts_from_the_class_named_as_background():
    target_BHW = torch.tensor([[[2, 2, 0, 2, 0]]])
    assert seg(target_BHW, target_BHW, expression="seg(background=2)")["seg/objects"] == 2


@pytest.mark.parametrize("seed", range(6))
def test_matching_equals_a_search_over_all_pairs_of_objects(seed):
    generator = np.random.default_rng(seed)
    true_HW = generator.choice([0, 0, 3, 9, 1000], (6, 8)).repeat(3, axis=0)
    wrong_HW = generator.random(true_HW.shape) < 0.4
    predicted_HW = np.where(wrong_HW, generator.choice([0, 1, 2], true_HW.shape), true_HW + 5)
    expected = []
    for number in np.unique(true_HW[true_HW > 0]):
        true, best = true_HW == number, 0.0
        for other in np.unique(predicted_HW[predicted_HW > 0]):
            shared = (true & (predicted_HW == other)).sum()
            if shared > 0.5 * true.sum():
                best = shared / (true | (predicted_HW == other)).sum()
        expected.append(best)
    assert matched_jaccard(predicted_HW, true_HW).tolist() == pytest.approx(expected)


def test_distances_repeat_to_the_last_bit():
    place_HW = np.random.default_rng(0).random((37, 41)) < 0.01
    first_HW = distance_to(place_HW)
    assert all((distance_to(place_HW) == first_HW).all() for _ in range(20))
