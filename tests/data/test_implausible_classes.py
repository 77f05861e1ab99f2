"""Values that run from 0 without a gap and are hardly classes: refused, or asked for."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
from drawn_scenes import scenes, streets

from segkit.data.opening.inspection import inspect
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import DataError


def as_bytes(maps):
    return {f"m{number:03d}": map_HW.astype(np.uint8) for number, map_HW in enumerate(maps)}


def noise(rng, values, size, count):
    return [rng.integers(0, values, size) for _ in range(count)]


def specks(rng, values, size, count):
    """Two classes in large squares, a few percent of whose pixels hold any value."""
    squares = np.kron(rng.integers(0, 2, (4, 4)), np.ones((size[0] // 4, size[1] // 4), int))
    strewn = [rng.random(squares.shape) < rng.uniform(0.05, 0.2) for _ in range(count)]
    return [np.where(s, rng.integers(0, values, squares.shape), squares) for s in strewn]


def shades(rng, values, size, count):
    """Pictures with texture, taken for masks."""
    found = []
    for _ in range(count):
        broad_HW = cv2.GaussianBlur(rng.random(size), (0, 0), size[0] / 12)
        grain_HW = cv2.GaussianBlur(rng.random(size), (0, 0), 1)
        picture_HW = broad_HW / np.ptp(broad_HW) + 0.3 * grain_HW / np.ptp(grain_HW)
        share_HW = (picture_HW - picture_HW.min()) / np.ptp(picture_HW)
        found.append(np.rint(share_HW * (values - 1)).astype(int))
    return found


@pytest.mark.parametrize("seed", range(12))
def test_noise_and_pictures_are_no_masks_of_many_classes(make_set, seed):
    rng = np.random.default_rng(seed)
    draw = (noise, specks, shades)[seed % 3]
    values = int(rng.integers(*((65, 250) if draw is specks else (16, 250))))
    side, count = 4 * int(rng.integers(16, 48)), int(rng.integers(2, 9))
    masks = draw(rng, values, (side, side), count)
    root = make_set(as_bytes([np.minimum(mask, values - 1) for mask in masks]))
    with pytest.raises(DataError, match=r"SK-D00[78]: ") as caught:
        open_data(root)
    # What was smeared is told as that; the rest says how to insist.
    if caught.value.code == "SK-D007":
        assert "as in noise and photographs" in caught.value.what
        declared = int(re.search(r"--num-classes (\d+)", caught.value.fix)[1])
        assert len(open_data(root, DataOptions(num_classes=declared)).classes) == declared


@pytest.mark.parametrize("seed", range(6))
def test_many_real_classes_with_thin_ones_are_believed(make_set, seed):
    rng = np.random.default_rng(seed)
    maps = scenes(rng, 40, int(rng.integers(65, 151)), (streets,))
    seen = inspect(make_set(as_bytes(maps)))
    assert seen.labelling is not None
    assert len(seen.labelling.classes) == max(int(map_HW.max()) for map_HW in maps) + 1


def test_more_classes_than_two_an_image_are_asked_for_until_declared(make_set):
    squares_HW = np.kron(np.arange(25).reshape(5, 5), np.ones((12, 12), int))
    root = make_set(as_bytes([squares_HW, squares_HW.T, squares_HW[::-1]]))
    (asked,) = [f for f in inspect(root).findings if f.code == "SK-D036"]
    assert asked.level == "warning"
    assert asked.what.startswith("the masks are read as 25 classes, and there are 3 images: more")
    assert "--instances foreground" in asked.fix
    assert f"`nc: 25` in {root / 'data.yaml'}" in asked.fix
    told = inspect(root, DataOptions(num_classes=25)).findings
    assert "SK-D036" not in {finding.code for finding in told}


def test_few_pieces_numbered_in_each_mask_are_asked_for(make_set):
    two_HW, three_HW = np.zeros((2, 40, 40), int)
    two_HW[5:15, 5:15], two_HW[20:30, 20:35] = 1, 2
    three_HW[5:15, 5:15], three_HW[20:30, 20:35], three_HW[20:30, 2:12] = 1, 2, 3
    root = make_set(as_bytes([two_HW, three_HW]))
    (asked,) = [f for f in inspect(root).findings if f.code == "SK-D036"]
    assert "read as 4 classes, and each is one connected blob" in asked.what


def test_few_classes_of_few_images_are_not_asked_for(make_set):
    squares_HW = np.kron(np.arange(8).reshape(4, 2), np.ones((12, 12), int))
    found = inspect(make_set(as_bytes([squares_HW, squares_HW[::-1]]))).findings
    assert "SK-D036" not in {finding.code for finding in found}


def told_in_vain(root, **options):
    found = inspect(root, DataOptions(**options)).findings
    return [(f.level, f.what, f.fix) for f in found if f.code == "SK-D039"]


def test_classes_that_are_declared_and_occur_nowhere_are_told(make_set):
    mask_HW = np.kron([[0, 1], [2, 1]], np.ones((16, 16), int))
    root = make_set(as_bytes([mask_HW, mask_HW.T]))
    assert told_in_vain(root, num_classes=3) == []
    (told,) = told_in_vain(root, num_classes=300)
    assert told[0] == "warning"
    assert told[1].startswith("300 classes are declared, and the masks hold 3 of them: 3 (class 3)")
    assert told[1].endswith("and 285 more occur in none.")
    assert told[2].endswith("If there are fewer classes, say so: --num-classes 3.")
    (told,) = told_in_vain(root, declare="names: [sea, land, ice, fog]")
    assert told[1].endswith("the masks hold 3 of them: 3 (fog) occurs in none.")
    # A model's own classes need not all occur where it is scored.
    assert told_in_vain(root, num_classes=5, of_model=True) == []


def test_values_that_are_mapped_and_occur_nowhere_are_told(make_set):
    mask_HW = np.kron([[0, 1], [2, 1]], np.ones((16, 16), int))
    root = make_set(as_bytes([mask_HW, mask_HW.T]))
    (told,) = told_in_vain(root, label_mapping={(5, 5): 1, (0, 1): 0, (40, 49): None})
    assert told[0] == "warning"
    assert told[1] == "--label-mapping maps 5, 40-49, which no mask holds; they hold 0, 1, 2."
    (root / "data.yaml").write_text("label_mapping: {5: 1}\n")
    (told,) = told_in_vain(root)
    assert told[1].startswith(f"{root / 'data.yaml'} maps 5, which no mask holds;")
    (root / "data.yaml").write_text("label_mapping: {2: 1}\n")
    assert told_in_vain(root) == []
