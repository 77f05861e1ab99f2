"""Class numbers resized smoothly: how many are found, and that ordered classes are left alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_scenes import BROAD, contours, discs, nested, rings, scenes
from drawn_sets import few, smears

from segkit.data.files.masks import MaskFacts, count_values
from segkit.data.files.transitions import transitions
from segkit.data.masks.smears import find_smear, may_be_smoothed


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


@pytest.mark.parametrize(("classes", "share"), [(3, 0), (4, 0.75), (6, 0.8), (21, 0.95)])
def test_most_smeared_class_numbers_are_found_and_most_others_asked_for(classes, share):
    drawn = [smeared_numbers(seed, classes) for seed in range(28)]
    facts = [facts_of(maps) for maps in drawn if maps is not None]
    found = [find_smear(masks) is not None for masks in facts]
    assert len(found) > 16
    assert np.mean(found) >= share
    told = [was or may_be_smoothed(masks) for was, masks in zip(found, facts, strict=True)]
    assert np.mean(told) >= 0.85


@pytest.mark.parametrize("style", [contours, nested, rings])
def test_of_classes_in_each_other_in_their_order_none_are_called_smeared_and_few_asked_for(style):
    called, asked = [], []
    for seed in range(60):
        rng = np.random.default_rng([6, seed])
        classes = int(rng.choice([3, 3, 4, 5, 6, 8]))
        masks = facts_of(scenes(rng, few(rng), classes, (style,)))
        called += [seed] * (find_smear(masks) is not None)
        asked += [seed] * may_be_smoothed(masks)
    assert called == []
    assert len(asked) <= 3


def cells_with_borders(seed: int, widths: tuple[int, ...] = (1, 2)) -> list[np.ndarray]:
    """Cells of class 2 with borders of class 1 on background, and broad regions of class 1.

    widths   that borders may have, in pixels: the same all over a mask
    """
    rng = np.random.default_rng([5, seed])
    height, width = rng.integers(90, 220, 2).tolist()
    maps = []
    for _ in range(few(rng)):
        border = int(rng.choice(widths))
        map_HW = discs(rng, height, width, 2)
        for _ in range(12):
            centre = (int(rng.integers(width)), int(rng.integers(height)))
            axes = rng.integers(6, max(8, min(height, width) // 8), 2).tolist()
            angle, cell_HW = int(rng.integers(180)), np.zeros((height, width), np.uint8)
            whole = [axis + border for axis in axes]
            cv2.ellipse(cell_HW, centre, whole, angle, 0, 360, 1, -1)
            cv2.ellipse(cell_HW, centre, axes, angle, 0, 360, 2, -1)
            if not map_HW[cell_HW > 0].any():
                map_HW += cell_HW
        maps.append(map_HW)
    return maps


@pytest.mark.parametrize("widths", [(1, 2), (1, 2, 9, 12)])
def test_cells_whose_borders_have_a_class_that_is_broad_elsewhere_are_asked_for(widths):
    sets = [facts_of(cells_with_borders(seed, widths)) for seed in range(40)]
    assert [find_smear(masks) for masks in sets] == [None] * 40
    assert sum(map(may_be_smoothed, sets)) > 10


def test_a_ring_thin_in_some_masks_and_broad_in_others_is_no_smear():
    maps = []
    for thickness in (1, 1, 2, 30, 30, 30):
        map_HW = np.zeros((160, 160), np.uint8)
        cv2.circle(map_HW, (80, 80), 70, 1, -1)
        cv2.circle(map_HW, (80, 80), 70 - thickness, 2, -1)
        maps.append(map_HW)
    assert find_smear(facts_of(maps)) is None


def cells_with_walls(wall: int, thickness: int) -> list[np.ndarray]:
    """Cells of five types, 0 to 5 without the walls' own number."""
    maps = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        types = np.array([k for k in range(6) if k != wall])
        square_HW = np.kron(types[rng.integers(0, 5, (9, 9))], np.ones((14, 14), int))
        for line in range(0, 9 * 14, 14):
            square_HW[line : line + thickness] = square_HW[:, line : line + thickness] = wall
        maps.append(square_HW.astype(np.uint8))
    return maps


@pytest.mark.parametrize("wall", [0, 2, 3, 5])
@pytest.mark.parametrize("thickness", [1, 2])
def test_cells_with_thin_walls_are_no_smear_whatever_number_the_walls_have(wall, thickness):
    maps = cells_with_walls(wall, thickness)
    assert find_smear(facts_of(maps)) is None
    # The same cells without walls, enlarged smoothly, are.
    smooth = [
        cv2.resize(m.astype(np.float32), None, fx=1.7, fy=1.7, interpolation=cv2.INTER_CUBIC)
        for m in cells_with_walls(wall, 0)
    ]
    assert find_smear(facts_of([np.clip(np.rint(m), 0, 5).astype(int) for m in smooth])) is not None


@pytest.mark.parametrize("how", [cv2.INTER_CUBIC, cv2.INTER_LANCZOS4])
def test_numbers_that_overshoot_at_borders_are_found(how):
    rng = np.random.default_rng(0)
    maps = scenes(rng, 6, 60, BROAD)
    large = [
        cv2.resize(m.astype(np.float32), None, fx=2.3, fy=2.3, interpolation=how) for m in maps
    ]
    highest = max(int(m.max()) for m in maps)
    assert find_smear(facts_of([np.clip(np.rint(m), 0, highest).astype(int) for m in large]))


def tiny_scenes(seed: int) -> list[np.ndarray]:
    """Classes of any kind in masks of 16 to 48 rows."""
    rng = np.random.default_rng([7, seed])
    draw = (*BROAD, contours, nested, rings)[seed % 8]
    height, width = int(rng.integers(16, 49)), int(rng.integers(24, 97))
    maps = [draw(rng, height, width, int(rng.choice([5, 8]))) for _ in range(few(rng, 2))]
    present = np.unique(np.concatenate([np.unique(map_HW) for map_HW in maps]))
    return [np.searchsorted(present, map_HW) for map_HW in maps]


def test_of_tiny_masks_few_good_ones_are_asked_for_and_few_smoothed_ones_pass():
    good = [facts_of(tiny_scenes(seed)) for seed in range(96)]
    assert np.mean([may_be_smoothed(masks) for masks in good]) < 0.1
    passed = []
    for seed in range(96):
        maps = tiny_scenes(seed) if seed % 8 < len(BROAD) else []
        highest = max((int(map_HW.max()) for map_HW in maps), default=0)
        if highest < 4:
            continue
        smear = smears(np.random.default_rng([8, seed]), jpeg=False, most=1.5)
        smooth = [smear(map_HW.astype(np.float32) / highest) * highest for map_HW in maps]
        masks = facts_of([np.rint(map_HW).astype(int) for map_HW in smooth])
        passed.append(find_smear(masks) is None and not may_be_smoothed(masks))
    assert len(passed) > 30
    assert np.mean(passed) < 0.05


def test_what_may_be_borders_of_cells_or_a_smoothed_mask_is_asked():
    maps = []
    for _ in range(2):
        map_HW = np.zeros((64, 64), np.uint8)
        map_HW[8:20, 8:20], map_HW[32:60, 32:60], map_HW[34:58, 34:58] = 1, 1, 2
        maps.append(map_HW)
    assert find_smear(facts_of(maps)) is None
    assert may_be_smoothed(facts_of(maps))
    # A line whose class lies nowhere else is a border that somebody drew.
    assert not may_be_smoothed(facts_of([map_HW[28:, 28:] for map_HW in maps]))
