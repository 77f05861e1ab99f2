"""Labels by one table of 8 bits: those of the rule itself, and its errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segkit.data.masks.label_rule import UNKNOWN, LabelRule, QuickLabels, Slots
from segkit.errors import DataError

VALUES = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
FILE = Path("masks/7.png")


@pytest.mark.parametrize(
    ("rule", "classes", "ignore", "values"),
    [
        (LabelRule({v: v for v in range(5)}), 5, None, VALUES % 5),
        (LabelRule({0: 0, 1: 1, 255: 255}), 2, 255, np.where(VALUES > 200, 255, VALUES % 2)),
        (LabelRule({0: 0, 255: 1}), 2, None, np.where(VALUES > 90, 255, 0)),
        (LabelRule({7: 1, 9: 0, 200: 255}), 2, 255, np.array([7, 9, 200])[VALUES % 3]),
        (LabelRule(threshold=128), 2, None, VALUES),
        (LabelRule({v: v for v in range(256)}), 256, None, VALUES),
        (LabelRule({0: 0, 1: -100}), 1, -100, VALUES % 2),
        (LabelRule({v: v + 100 for v in range(256)}), 356, None, VALUES),
        (LabelRule({0: 0, 300: 1}), 2, None, np.where(VALUES > 90, np.uint16(300), 0)),
    ],
)
def test_they_are_the_rules_own(rule, classes, ignore, values):
    values_HW = values if values.max() > 255 else values.astype(np.uint8)
    expected_HW = rule.labels(values_HW, FILE)
    for part in ((slice(None), slice(None)), (slice(3, 9), slice(11, 40))):
        found = QuickLabels(rule, classes, ignore)(values_HW[part], FILE)
        assert np.array_equal(found, expected_HW[part])


def test_objects_outermost_pixels_are_left_to_the_rule():
    rule = LabelRule(objects=True, boundary=True)
    assert np.array_equal(QuickLabels(rule, 3, None)(VALUES, FILE), rule.labels(VALUES, FILE))


@pytest.mark.parametrize("stray", [2, 77, 255])
def test_a_value_that_no_mask_held_at_the_start_is_told_with_its_file(stray):
    values_HW = np.zeros((6, 6), np.uint8)
    values_HW[4, 4] = stray
    where = rf"SK-D012: masks/7.png holds the value {stray}, which no .* in row 4, column 4 "
    with pytest.raises(DataError, match=where):
        QuickLabels(LabelRule({0: 0, 1: 1}), 2, None)(values_HW, FILE)


@pytest.mark.parametrize("colours", [1, 2, 21, 150])
def test_colours_get_the_labels_of_a_look_up_one_by_one(colours):
    rng = np.random.default_rng(colours)
    packed = rng.choice(2**24, colours, replace=False)
    table = {int(colour): label for label, colour in enumerate(packed)}
    values_HW = rng.choice(packed, (50, 70)).astype(np.int32)
    rule = LabelRule(table, colour=True)
    expected_HW = np.vectorize(table.__getitem__)(values_HW)
    for part in ((slice(None), slice(None)), (slice(7, 30), slice(3, 50))):
        assert np.array_equal(rule.labels(values_HW[part], FILE), expected_HW[part])


def test_a_strange_colour_is_told_also_where_it_shares_a_slot_with_a_known_one():
    rule = LabelRule({0: 0, 128 << 16: 1}, colour=True)
    slots = Slots.of(rule.table)
    every = np.arange(1, 128 << 16, dtype=np.int32)
    assert (slots.labels(every) == UNKNOWN).all()
    values_HW = np.zeros((4, 4), np.int32)
    values_HW[1, 1] = 9
    with pytest.raises(DataError, match=r"holds the value \(0, 0, 9\), which no mask held"):
        rule.labels(values_HW, FILE)


def test_too_many_colours_for_slots_of_their_own_are_looked_up_otherwise():
    table = {colour * 5: colour % 7 for colour in range(5000)}
    assert Slots.of(table) is None
    values_HW = np.random.default_rng(0).choice(list(table), (30, 30)).astype(np.int32)
    found_HW = LabelRule(table, colour=True).labels(values_HW, FILE)
    assert np.array_equal(found_HW, values_HW // 5 % 7)
