"""The demo set: the same from the same seed, and what the documentation says it is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import UsageError


def test_the_seed_decides_every_pixel():
    first, again, other = (open_data(None, DataOptions(seed=s)).split("val")[3] for s in (0, 0, 1))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.image, other.image)


def test_splits_share_no_picture():
    data = open_data(None)
    pictures = {s: {data.split(s)[i].image.tobytes() for i in range(20)} for s in data.splits}
    assert not pictures["train"] & pictures["val"]
    assert not pictures["val"] & pictures["test"]


def test_the_command_is_told_that_it_is_the_demo_set():
    data = open_data(None)
    assert data.notes[0] == "No --data is given: this is the built-in demo set, drawn from a seed."
    assert (data.default_size, data.full_scale, data.ignore_index) == (128, 255, None)
    assert len(data.palette) == len(data.classes) == 5


def test_every_class_is_frequent_enough_to_be_learnt():
    dataset = open_data(None).split("val")
    counts = sum(np.bincount(dataset[i].mask.ravel(), minlength=5) for i in range(len(dataset)))
    assert (counts / counts.sum()).min() > 0.05


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_it_comes_with_the_channels_asked_for(channels):
    data = open_data(None, DataOptions(in_channels=channels))
    assert data.in_channels == channels
    assert data.split("train")[0].image.shape == (128, 128, channels)


def test_other_channels_are_refused():
    with pytest.raises(UsageError, match="no images with 2 channels"):
        open_data(None, DataOptions(in_channels=2))


def test_mean_colour_alone_does_not_tell_the_classes_apart():
    """A nearest-mean-colour rule, fitted on training pixels, stays far below what is promised."""
    train, val = (open_data(None).split(s) for s in ("train", "val"))
    pixels = np.concatenate([cv2.blur(train[i].image, (5, 5)).reshape(-1, 3) for i in range(30)])
    labels = np.concatenate([train[i].mask.ravel() for i in range(30)])
    means_K3 = np.stack([pixels[labels == k].mean(axis=0) for k in range(5)])
    hits = unions = np.zeros(5)
    for i in range(15):
        seen_HW3 = cv2.blur(val[i].image, (5, 5)).astype(float)
        told_HW = ((seen_HW3[:, :, None] - means_K3) ** 2).sum(axis=3).argmin(axis=2)
        truth_HW = val[i].mask
        both = [((told_HW == k) & (truth_HW == k)).sum() for k in range(5)]
        either = [((told_HW == k) | (truth_HW == k)).sum() for k in range(5)]
        hits, unions = hits + both, unions + either
    assert (hits / unions).mean() < 0.65
