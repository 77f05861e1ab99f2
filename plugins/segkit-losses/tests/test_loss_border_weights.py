"""The U-Net paper's weight map against the formula, pixel by pixel."""

from __future__ import annotations

import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from segkit_losses.border import border_weights, without_contact
from segkit_losses.distance import distance_to
from torch.nn import functional as F

import segkit

IGNORE = 255


def by_formula(objects_HW: np.ndarray, w0: float, sigma: float) -> np.ndarray:
    """w0 exp(-(d1 + d2)^2 / (2 sigma^2)) with every distance to every object looked up."""
    places = {n: np.argwhere(objects_HW == n) for n in np.unique(objects_HW) if n}
    weight_HW = np.zeros(objects_HW.shape)
    for place in np.argwhere(objects_HW == 0) if len(places) > 1 else ():
        nearest = sorted(np.sqrt(((at - place) ** 2).sum(1)).min() for at in places.values())
        weight_HW[tuple(place)] = w0 * math.exp(-((nearest[0] + nearest[1]) ** 2) / (2 * sigma**2))
    return weight_HW


def scattered_objects(seed: int, size: int = 40) -> np.ndarray:
    generator = np.random.default_rng(seed)
    objects_HW = np.zeros((size, size + 7), dtype=np.int32)
    for number in generator.choice(np.arange(1, 5000), size=seed % 7, replace=False):
        centre = generator.integers(0, size, 2).tolist()
        cv2.circle(objects_HW, centre, int(generator.integers(0, 6)), int(number), -1)
    return objects_HW


@pytest.mark.parametrize("seed", range(14))
@pytest.mark.parametrize(("w0", "sigma"), [(10, 5), (3, 1.5)])
def test_the_weights_are_the_papers_formula(seed, w0, sigma):
    objects_HW = scattered_objects(seed)
    found_HW = border_weights(objects_HW, w0, sigma)
    np.testing.assert_allclose(found_HW, by_formula(objects_HW, w0, sigma), rtol=1e-5, atol=1e-7)


def test_the_weights_of_touching_cells_are_the_papers_formula():
    """On the paper's own kind of picture: cells of a real microscope, object numbers as labels."""
    folder = os.environ.get("SEGKIT_TEST_DATA")
    if not folder:
        pytest.skip("SEGKIT_TEST_DATA names no folder of real data")
    masks = sorted((Path(folder) / "ctc_dic_hela" / "masks").glob("*.png"))
    assert masks
    for file in masks[:3]:
        objects_HW = np.asarray(Image.open(file))
        apart_HW = without_contact(objects_HW, 1)
        y, x = np.argwhere(apart_HW != objects_HW)[0]
        crop_HW = apart_HW[max(y - 40, 0) : y + 40, max(x - 40, 0) : x + 40]
        found_HW = border_weights(crop_HW, 10, 5)
        # Two pixels are cut, or three where the line is jagged: 10 exp(-4^2 / 50) = 7.3.
        assert found_HW.max() > 7
        np.testing.assert_allclose(found_HW, by_formula(crop_HW, 10, 5), rtol=1e-5, atol=1e-7)


def test_a_gap_of_one_pixel_weighs_as_the_formula_says():
    """d1 = d2 = 1: 10 exp(-4 / 50) = 9.231."""
    objects_HW = np.array([[1, 1, 0, 2, 2]])
    assert border_weights(objects_HW, 10, 5)[0].tolist() == pytest.approx([0, 0, 9.23116, 0, 0])


def test_one_object_or_none_has_no_gap():
    assert not border_weights(np.zeros((5, 6), dtype=np.int64), 10, 5).any()
    assert not border_weights(np.eye(6, dtype=np.int64), 10, 5).any()


def test_distances_equal_a_search_and_repeat_to_the_last_bit():
    generator = np.random.default_rng(0)
    for _ in range(40):
        place_HW = generator.random(generator.integers(1, 25, 2)) < 0.1
        place_HW[0, 0] = True
        at = np.argwhere(place_HW)
        found_HW = distance_to(place_HW)
        for place in np.ndindex(place_HW.shape):
            exact = math.sqrt(((at - np.array(place)) ** 2).sum(1).min())
            assert found_HW[place] == np.float32(exact)
        assert all((distance_to(place_HW) == found_HW).all() for _ in range(5))


def weighted(**options: object) -> torch.nn.Module:
    return segkit.build_loss("weighted_ce", num_classes=2, ignore_index=IGNORE, options=options)


def test_the_loss_is_the_mean_weighted_by_the_map():
    objects_BHW = torch.stack([torch.from_numpy(scattered_objects(seed)) for seed in (5, 6, 0)])
    target_BHW = (objects_BHW > 0).long()
    target_BHW[:, :4] = IGNORE
    logits_BKHW = torch.randn(
        3, 2, *target_BHW.shape[1:], generator=torch.Generator().manual_seed(0)
    )
    error_BHW = F.cross_entropy(logits_BKHW, target_BHW, reduction="none", ignore_index=IGNORE)
    border_BHW = np.stack([by_formula(each, 10, 5) for each in objects_BHW.numpy()])
    weight_BHW = (1 + torch.from_numpy(border_BHW)) * (target_BHW != IGNORE)
    expected = (weight_BHW * error_BHW).sum() / weight_BHW.sum()
    value = weighted()(logits_BKHW, target_BHW, objects_BHW.long())
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_without_a_border_term_it_is_ce():
    logits_BKHW = torch.randn(2, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    target_BHW = torch.randint(0, 2, (2, 9, 9), generator=torch.Generator().manual_seed(1))
    plain = segkit.build_loss("ce", num_classes=2, ignore_index=IGNORE)(logits_BKHW, target_BHW)
    torch.testing.assert_close(weighted(w0=0.0)(logits_BKHW, target_BHW), plain)


def test_without_instances_objects_are_connected_regions_of_a_class():
    """Two blobs touching at a corner are one object; a region of another class is another."""
    target_HW = torch.zeros(7, 9, dtype=torch.int64)
    target_HW[1:3, 1:3] = target_HW[3:5, 3:5] = 1
    target_HW[1:3, 6:8] = 2
    numbers_HW = torch.where(target_HW == 2, 40, target_HW)
    loss = segkit.build_loss("weighted_ce", num_classes=3)
    assert loss.needs_instances
    logits_BKHW = torch.randn(1, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    told = loss(logits_BKHW, target_HW[None], numbers_HW[None])
    assert torch.equal(loss(logits_BKHW, target_HW[None]), told)


def test_the_background_may_be_another_class():
    """As in membrane data, where cells are 0 and what lies between is 1."""
    cells_HW = torch.zeros(6, 9, dtype=torch.int64)
    cells_HW[:, 4] = 1
    logits_BKHW = torch.randn(1, 2, 6, 9, generator=torch.Generator().manual_seed(0))
    flipped = weighted(background=1)(logits_BKHW, cells_HW[None])
    usual = weighted()(logits_BKHW.flip(1), 1 - cells_HW[None])
    torch.testing.assert_close(flipped, usual)


@pytest.mark.parametrize("gap", [1, 2, 3])
def test_contact_means_another_object_within_the_gap(gap):
    generator = np.random.default_rng(gap)
    small_HW = generator.choice([0, 0, 7, 500, 90], (6, 7))
    objects_HW = small_HW.repeat(4, axis=0).repeat(4, axis=1)
    apart_HW = without_contact(objects_HW, gap)
    for y, x in np.ndindex(objects_HW.shape):
        window = objects_HW[max(y - gap, 0) : y + gap + 1, max(x - gap, 0) : x + gap + 1]
        others = set(window[window > 0].tolist()) - {objects_HW[y, x]}
        assert apart_HW[y, x] == (0 if others else objects_HW[y, x])


def test_a_gap_is_learnt_as_background_and_weighed():
    """Two touching cells of three pixels: with gap 1, the two in the middle become background."""
    instances_BHW = torch.tensor([[[1, 1, 1, 2, 2, 2, 0, 2]]])
    target_BHW = torch.tensor([[[1, 1, 1, 1, 1, 1, 0, IGNORE]]])
    apart_BHW = torch.tensor([[[1, 1, 0, 0, 2, 2, 0, 2]]])
    cut_BHW = torch.tensor([[[1, 1, 0, 0, 1, 1, 0, IGNORE]]])
    logits_BKHW = torch.randn(1, 2, 1, 8, generator=torch.Generator().manual_seed(0))
    value = weighted(gap=1)(logits_BKHW, target_BHW, instances_BHW)
    torch.testing.assert_close(value, weighted()(logits_BKHW, cut_BHW, apart_BHW))


def test_balanced_weights_make_the_classes_count_alike():
    """3 of 4 pixels are class 0: weights 4 / (2 * 3) and 4 / (2 * 1)."""
    target_BHW = torch.tensor([[[0, 0, 0, 1]]])
    logits_BKHW = torch.randn(1, 2, 1, 4, generator=torch.Generator().manual_seed(0))
    error_N = F.cross_entropy(logits_BKHW, target_BHW, reduction="none").flatten()
    weight_N = torch.tensor([2 / 3, 2 / 3, 2 / 3, 2.0])
    value = weighted(class_weights="balanced")(logits_BKHW, target_BHW)
    torch.testing.assert_close(value, (weight_N * error_N).sum() / weight_N.sum())
