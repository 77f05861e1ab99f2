"""What losses refuse, in the words a user reads."""

from __future__ import annotations

import pytest
import torch

import segkit
from segkit import SegkitError


def refusal(expression: str, classes: int = 3, ignore_index: int | None = None, call=None) -> str:
    with pytest.raises(SegkitError) as caught:
        loss = segkit.build_loss(expression, num_classes=classes, ignore_index=ignore_index)
        loss(*(call or ()))
    return str(caught.value)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("ce(class_weights=[1, 2])", "ce: option 'class_weights' cannot be [1.0, 2.0]"),
        ("ce(class_weights=[1, 2, -1])", "Give 3 numbers from 0 up, one per class."),
        ("ce(label_smoothing=1.5)", "ce: option 'label_smoothing' cannot be 1.5."),
        ("focal(gamma=-1)", "focal: option 'gamma' cannot be -1.0."),
        ("dice(smooth=-1)", "It is a number from 0 up."),
        ("dice(classes=[3])", "Name at least one class from 0 to 2."),
        ("jaccard(classes=[])", "jaccard: option 'classes' cannot be []."),
        ("tversky(alpha=-0.1)", "tversky: option 'alpha' cannot be -0.1."),
        ("focal_tversky(gamma=0.5)", "It is a number from 1 up."),
        ("ohem(threshold=0)", "It is a number from 0 (left out) to 1."),
        ("ohem(min_kept=2)", "ohem: option 'min_kept' cannot be 2.0."),
        ("weighted_ce(sigma=0)", "weighted_ce: option 'sigma' cannot be 0.0."),
        ("weighted_ce(background=3)", "weighted_ce: option 'background' cannot be 3."),
        ("weighted_ce(class_weights=[1])", "Give 3 numbers from 0 up, one per class."),
    ],
)
def test_values_out_of_range_are_refused_by_name(expression, said):
    message = refusal(expression)
    assert message.startswith("SK-C006: ")
    assert said in message


def test_misspelt_options_are_refused_with_the_nearest():
    assert "Did you mean 'class_weights'?" in refusal("ce(class_weigths=[1, 2, 3])")


def test_a_single_class_is_refused_with_advice():
    message = refusal("dice", classes=1)
    assert message.startswith("SK-C007: 'dice' compares classes, and 1 class leaves nothing")
    assert "multilabel=true" in message


def test_an_ignored_label_that_is_a_truth_is_refused():
    message = refusal("dice(multilabel=true)", ignore_index=1)
    assert "reads 0 and 1 as truth, and ignore_index is 1." in message
    assert "such as 255" in message


def test_logits_of_another_class_count_are_refused_with_both_shapes():
    call = torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64)
    assert "'ce' was built for 3 classes and got logits of shape (1, 4, 2, 2)." in refusal(
        "ce", call=call
    )


def test_a_target_of_another_size_is_refused_with_both_shapes():
    call = torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 3, dtype=torch.int64)
    message = refusal("dice", call=call)
    assert "logits of shape (1, 3, 2, 2) and a target of shape (1, 2, 3)." in message
    assert "The target is (1, 2, 2)." in message
    assert "The target is (1, 2, 2) or (1, 3, 2, 2)." in refusal("dice(multilabel=true)", call=call)


@pytest.mark.parametrize("expression", ["ce", "dice", "lovasz", "ohem", "weighted_ce", "boundary"])
def test_labels_that_are_no_class_are_refused_with_their_values(expression):
    target_BHW = torch.tensor([[[0, 3], [255, -2]]])
    message = refusal(expression, ignore_index=255, call=(torch.zeros(1, 3, 2, 2), target_BHW))
    assert message.startswith(
        "SK-D012: 2 pixels hold labels -2, 3, which are none of the 3 classes (0 to 2) and not "
        "the ignored label (255)."
    )


def test_multilabel_truths_beyond_0_and_1_are_refused():
    """Masks of 0 and 255 are the usual cause."""
    target_BKHW = torch.tensor([[[[0, 255]]]])
    message = refusal("dice(multilabel=true)", 1, call=(torch.zeros(1, 1, 1, 2), target_BKHW))
    assert "1 pixel holds label 255, which is none of the 2 classes (0 to 1)" in message
