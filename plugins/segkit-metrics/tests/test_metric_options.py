"""Names, choices of classes, and what metrics refuse, in the words a user reads."""

from __future__ import annotations

import pytest
import torch

import segkit
from segkit.api import ConfusionMatrix, DataError, UsageError

LABEL_BHW = torch.tensor([[[0, 1, 1, 2]]])
TARGET_BHW = torch.tensor([[[0, 1, 2, 2]]])


def computed(expression: str) -> dict[str, float]:
    metric = segkit.build_metric(expression, num_classes=3, ignore_index=255)
    metric.update(LABEL_BHW, TARGET_BHW)
    return dict(metric.compute())


def test_scores_are_named_by_class_number_or_name():
    assert computed("iou") == {"miou": 2 / 3, "iou/0": 1, "iou/1": 0.5, "iou/2": 0.5}
    assert list(computed("dice(class_names=[sky, road, car])")) == [
        "dice",
        "dice/sky",
        "dice/road",
        "dice/car",
    ]
    for name in ("hausdorff95", "boundary_iou"):
        named = computed(f"{name}(class_names=[sky, road, car])")
        assert list(named) == [name, f"{name}/sky", f"{name}/road", f"{name}/car"]


def test_chosen_classes_make_the_mean_and_all_are_shown():
    assert computed("miou(classes=[1, 2])") == {"miou": 0.5}
    assert computed("iou(classes=[0])") == {"miou": 1, "iou/0": 1, "iou/1": 0.5, "iou/2": 0.5}
    assert computed("miou_image(classes=[1, 2])")["miou_image"] == 0.5


def test_one_count_serves_every_overlap_score():
    shared = ConfusionMatrix(3, 255)
    shared.update(LABEL_BHW, TARGET_BHW)
    for name in ("miou", "iou", "dice", "precision", "recall", "pixel_accuracy"):
        metric = segkit.build_metric(name, num_classes=3, ignore_index=255)
        assert dict(metric.from_counts(shared.counts_KK)) == computed(name)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("miou(classes=[3])", "miou: option 'classes' cannot be [3] with 3 classes."),
        ("dice(classes=[])", "Name at least one class from 0 to 2."),
        ("hausdorff95(classes=[-1])", "hausdorff95: option 'classes' cannot be [-1]"),
        ("iou(class_names=[a, b])", "Give 3 different names, one per class."),
        ("recall(class_names=[a, b, a])", "recall: option 'class_names' cannot be ['a', 'b', 'a']"),
        ("boundary_iou(ratio=0)", "boundary_iou: option 'ratio' cannot be 0.0."),
        ("boundary_iou(width=0)", "boundary_iou: option 'width' cannot be 0."),
        ("ece(bins=0)", "ece: option 'bins' cannot be 0."),
        ("seg(background=3)", "seg: option 'background' cannot be 3 with 3 classes."),
    ],
)
def test_values_out_of_range_are_refused_by_name(expression, said):
    with pytest.raises(UsageError) as caught:
        segkit.build_metric(expression, num_classes=3)
    assert str(caught.value).startswith("SK-C006: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "expression", ["miou", "dice", "miou_image", "boundary_iou", "hausdorff95", "seg", "ece"]
)
@pytest.mark.parametrize("label", [3, -1, 254])
def test_labels_that_are_no_class_are_refused_with_their_count(expression, label):
    metric = segkit.build_metric(expression, num_classes=3, ignore_index=255)
    logits = expression == "ece"
    prediction = torch.zeros(1, 3, 1, 4) if logits else torch.zeros(1, 1, 4, dtype=torch.int64)
    with pytest.raises(DataError) as caught:
        metric.update(prediction, torch.tensor([[[label, 0, label, 255]]]))
        metric.compute()
    assert str(caught.value).startswith(
        "SK-D012: 2 pixels hold a label that is none of the 3 classes (0 to 2) and not the ignored "
        "label (255)."
    )


@pytest.mark.parametrize("expression", ["miou", "miou_image", "boundary_iou", "hausdorff95", "seg"])
def test_different_shapes_are_refused(expression):
    metric = segkit.build_metric(expression, num_classes=3)
    with pytest.raises(ValueError, match=r"labels \(1, 1, 4\), truth \(1, 4, 1\)"):
        metric.update(LABEL_BHW, TARGET_BHW.mT)
