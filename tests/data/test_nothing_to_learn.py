"""Sets that teach nothing are refused or said: all ignored, one class alone, no boundary."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from drawn_scenes import objects

from segkit.data.files.masks import count_values
from segkit.data.opening.inspection import inspect, label_counts
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import DataError

HALVES = np.kron(np.arange(2, dtype=np.uint8), np.ones((40, 30), np.uint8))


def filled(value: int) -> np.ndarray:
    return np.full((40, 60), value, np.uint8)


def said(root, **options) -> list[str]:
    return [f.what for f in inspect(root, DataOptions(**options)).findings if f.code == "SK-D022"]


@pytest.mark.parametrize(
    ("value", "declared"), [(255, "names: [a, b]"), (3, "nc: 4"), (0, "nc: 2")]
)
def test_a_set_that_is_ignored_all_over_is_refused_with_what_to_do(make_set, value, declared):
    root = make_set(dict.fromkeys("abcd", filled(value)), yaml=declared)
    with pytest.raises(DataError, match="SK-D022: every pixel of all masks of train, val is") as e:
        open_data(root, DataOptions(ignore_index=value))
    assert f"(label {value}): there is nothing to learn and nothing to score." in e.value.what
    assert "--ignore-index none" in e.value.fix


def test_a_training_split_that_is_ignored_all_over_is_refused_though_others_are_not(make_set):
    masks = {"train/a": filled(255), "train/b": filled(255), "val/c": HALVES, "val/d": HALVES}
    with pytest.raises(DataError, match="SK-D022: every pixel of all masks of train is ignored"):
        open_data(make_set(masks), DataOptions(ignore_index=255))


def test_the_answer_that_255_is_to_be_ignored_is_taken(make_set):
    root = make_set({"a": HALVES, "b": HALVES, "c": HALVES * 255, "d": HALVES})
    with pytest.raises(DataError, match="some masks mark the foreground by 1") as caught:
        open_data(root)
    assert "If 255 is to be ignored: --ignore-index 255" in caught.value.fix
    data = open_data(root, DataOptions(ignore_index=255))
    assert (len(data.classes), data.ignore_index) == (2, 255)


def test_a_few_masks_that_are_ignored_all_over_are_said_and_trained_with(make_set):
    root = make_set({"a": HALVES, "b": HALVES, "c": filled(255), "d": HALVES})
    assert said(root, ignore_index=255) == [f"{root / 'masks' / 'c.png'} is ignored all over."]


@pytest.mark.parametrize(
    ("mask", "yaml", "options", "label"),
    [
        (filled(0), "names: [sky, cloud]", {}, "label 0 ('sky')"),
        (filled(1), "", {"num_classes": 3}, "label 1 ('class 1')"),
        (HALVES * 200, "", {"binarize": 250}, "label 0 ('background')"),
        (filled(0), "", {"instances": "foreground"}, "label 0 ('background')"),
    ],
)
def test_one_class_alone_is_said(make_set, mask, yaml, options, label):
    root = make_set(dict.fromkeys("abc", mask), yaml=yaml)
    (what,) = said(root, **options)
    assert what.startswith(f"all masks hold one class alone, {label}: a network would learn")
    assert any("one class alone" in note for note in open_data(root, DataOptions(**options)).notes)


def test_boundaries_that_yield_no_pixel_are_said(make_set):
    root = make_set(dict.fromkeys("abc", filled(7)))
    assert "--instances boundary yields no boundary pixel" in str(said(root, instances="boundary"))
    numbered = make_set(dict.fromkeys("abc", HALVES * 7), folder="numbered")
    assert said(numbered, instances="boundary") == []


def test_boundary_pixels_are_counted_as_opencv_erodes_objects(make_set):
    rng = np.random.default_rng(1)
    maps = {name: objects(rng, 60, 70, 9).astype(np.uint8) for name in "abc"}
    seen = inspect(make_set(maps), DataOptions(instances="boundary"))
    for facts in seen.masks.values():
        map_HW = maps[facts.path.stem]
        inner = sum(
            int(cv2.erode((map_HW == n).astype(np.uint8), np.ones((3, 3), np.uint8)).sum())
            for n in range(1, int(map_HW.max()) + 1)
        )
        outer = int((map_HW > 0).sum()) - inner
        assert label_counts(facts, seen.labelling) == {0: (map_HW == 0).sum(), 1: inner, 2: outer}
        labels_HW = seen.labelling.rule.labels(map_HW, facts.path)
        assert count_values(labels_HW) == label_counts(facts, seen.labelling)
