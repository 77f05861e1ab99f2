"""Class numbers resized smoothly: how many are found, and that ordered classes are left alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_scenes import BROAD, contours, nested, rings, scenes
from drawn_sets import few, smears

from segkit.data.files.masks import MaskFacts, count_values
from segkit.data.files.transitions import transitions
from segkit.data.masks.smears import find_smear


def facts_of(maps: list[np.ndarray]) -> list[MaskFacts]:
    return [
        MaskFacts(
            Path(f"m{number}.png"),
            *map_HW.shape,
            "PNG",
            count_values(map_HW.astype(np.uint16)),
            transitions=transitions(map_HW),
        )
        for number, map_HW in enumerate(maps)
    ]


def smeared_numbers(seed: int, classes: int) -> list[np.ndarray] | None:
    """Numbers of so many classes resized smoothly; None where hardly a pixel is wrong."""
    rng = np.random.default_rng([classes, seed])
    maps = scenes(rng, few(rng), classes, BROAD)
    smear = smears(rng, jpeg=False, most=1.5)
    highest = max(int(map_HW.max()) for map_HW in maps)
    smooth = [smear(map_HW.astype(np.float32) / highest) * highest for map_HW in maps]
    wrong = np.mean([(np.abs(map_HW - np.rint(map_HW)) > 0.02).mean() for map_HW in smooth])
    if highest < 2 or wrong < 0.03:
        return None
    return [np.clip(np.rint(map_HW), 0, highest).astype(int) for map_HW in smooth]


@pytest.mark.parametrize(("classes", "share"), [(3, 0.5), (4, 0.75), (6, 0.85), (21, 0.95)])
def test_most_smeared_class_numbers_are_found(classes, share):
    drawn = [smeared_numbers(seed, classes) for seed in range(28)]
    found = [find_smear(facts_of(maps)) is not None for maps in drawn if maps is not None]
    assert len(found) > 16
    assert np.mean(found) >= share


@pytest.mark.parametrize("style", [contours, nested, rings])
def test_classes_that_lie_in_each_other_in_their_order_are_never_called_smeared(style):
    wrong = []
    for seed in range(40):
        rng = np.random.default_rng([6, seed])
        classes = int(rng.choice([3, 3, 4, 5, 6, 8]))
        if find_smear(facts_of(scenes(rng, few(rng), classes, (style,)))) is not None:
            wrong.append(seed)
    assert wrong == []


def test_a_ring_thin_in_some_masks_and_broad_in_others_is_no_smear():
    maps = []
    for thickness in (1, 1, 2, 30, 30, 30):
        map_HW = np.zeros((160, 160), np.uint8)
        cv2.circle(map_HW, (80, 80), 70, 1, -1)
        cv2.circle(map_HW, (80, 80), 70 - thickness, 2, -1)
        maps.append(map_HW)
    assert find_smear(facts_of(maps)) is None
