"""Separations: a perfect output gives the objects back, and numbers say nothing but who is one."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from segkit.data.augmentation.crops import cut_out
from segkit.data.augmentation.presets import find_preset
from segkit.data.stored import of_sample
from segkit.errors import UsageError
from segkit.interfaces import Sample
from segkit.separation.boundary import Boundary
from segkit.separation.centre import Centre
from segkit.separation.depth import depths
from segkit.separation.distance import Distance
from segkit.separation.measuring import measured
from segkit.separation.named import SEPARATIONS, build_separation, spelled_out
from segkit.separation.training import SeparatingLoss
from segkit.separation.watershed import in_order, without_specks

ALL = [Boundary, Distance, Centre]
# A perfect logit, and a perfect number: what each separation's maps are where nothing is wrong.
PERFECT = {
    Boundary: lambda target: np.where(target > 0, 9.0, -9.0),
    Distance: lambda target: target,
    Centre: lambda target: target,
}


def discs(shape, centres, radius):
    """Discs that overlap are cut along the line between them, so that they touch."""
    y_H1, x_W = np.mgrid[: shape[0], : shape[1]]
    far_NHW = np.stack([np.hypot(y_H1 - y, x_W - x) for y, x in centres])
    return in_order(np.where(far_NHW.min(0) < radius, far_NHW.argmin(0) + 1, 0))


def grid(rows, columns, radius, step):
    places = [
        (step * (row + 1), step * (column + 1)) for row in range(rows) for column in range(columns)
    ]
    return discs((step * (rows + 1), step * (columns + 1)), places, radius)


def tiny_beside_large():
    """2,025 pixels and 8 pixels that touch them."""
    number_HW = discs((64, 64), [(30, 30)], 25.4)
    number_HW[6:9, 55:58] = 0
    number_HW[29:32, 55:58] = 9
    number_HW[29, 57] = 0
    return in_order(number_HW)


SCENES = {
    "none": np.zeros((20, 30), np.int32),
    "one": discs((40, 50), [(20, 25)], 12),
    "one that fills the image": np.ones((20, 30), np.int32),
    "two that touch": discs((50, 70), [(25, 22), (25, 44)], 15),
    "300 that touch": grid(15, 20, 7.5, 13),
    "tiny beside large": tiny_beside_large(),
    "cut by the border": discs((40, 40), [(0, 10), (0, 32), (38, 20), (20, 0)], 11.5),
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("kind", ALL)
def test_a_perfect_output_gives_the_objects_back(kind, scene):
    true_HW = SCENES[scene]
    separation = kind(reach=measured([true_HW]).get("reach", 12.0))
    maps_MHW = PERFECT[kind](separation.targets(true_HW))
    found_HW = separation.decode(maps_MHW, true_HW > 0)
    assert maps_MHW.shape == (separation.maps, *true_HW.shape)
    assert found_HW.max() == true_HW.max()
    assert ((found_HW > 0) == (true_HW > 0)).all()
    # Where two rims meet, a corner's depth does not tell which of the two it belongs to.
    allowed = 0 if kind is Centre else 0.02
    assert (found_HW != true_HW).sum() <= allowed * (true_HW > 0).sum()


@pytest.mark.parametrize("kind", ALL)
def test_without_a_separation_touching_objects_would_be_one(kind):
    """The scenes can tell: maps that say nothing join what touches."""
    separation = kind(reach=8.0)
    nothing_MHW = np.full((separation.maps, 50, 70), -9.0 if kind is Boundary else 0.0)
    found_HW = separation.decode(nothing_MHW, SCENES["two that touch"] > 0)
    assert found_HW.max() == 1


@pytest.mark.parametrize("kind", ALL)
def test_other_numbers_for_the_same_objects_give_the_same_targets(kind):
    true_HW = SCENES["300 that touch"]
    numbers = np.append(0, 5000 + np.random.default_rng(0).permutation(true_HW.max()))
    separation = kind()
    assert (separation.targets(true_HW) == separation.targets(numbers[true_HW])).all()


def test_the_depth_is_the_distance_to_the_nearest_pixel_of_another_number():
    """By definition, pixel by pixel, up to a pixel's diagonal."""
    true_HW = SCENES["two that touch"][::2, ::2]
    y_N, x_N = np.nonzero(true_HW >= 0)
    place_N2, number_N = np.stack([y_N, x_N], 1), true_HW[y_N, x_N]
    depth_HW = depths(true_HW)
    for (y, x), number in zip(place_N2, number_N, strict=True):
        other_N2 = place_N2[number_N != number]
        nearest = np.hypot(*(other_N2 - (y, x)).T).min()
        assert depth_HW[y, x] == (pytest.approx(nearest - 0.5, abs=0.75) if number else 0)


def test_an_object_does_not_end_where_the_crop_cuts_it():
    whole_HW = SCENES["one"]
    cut_HW = whole_HW[20:, 25:]
    assert depths(cut_HW)[0, 0] >= depths(whole_HW)[20, 25]
    assert Boundary(reach=12.0).targets(cut_HW)[0, 0, 0] == 0


def test_objects_that_touch_stay_apart_through_augmentation():
    true_HW = SCENES["300 that touch"].astype(np.int64)
    image_HWC = np.zeros((*true_HW.shape, 1), np.uint8)
    sample = of_sample(Sample(image_HWC, (true_HW > 0).astype(np.int64), "cells", true_HW))
    recipe = find_preset("microscopy")
    crop = cut_out(sample, 96, recipe, 255, np.random.default_rng(3))
    assert set(np.unique(crop.instances)) <= set(np.unique(true_HW))
    assert len(np.unique(crop.instances)) > 20
    # Each is still one piece.
    for number in np.unique(crop.instances)[1:]:
        own_HW = crop.instances == number
        parts_HW, _ = ndimage.label(own_HW, structure=np.ones((3, 3)))
        assert np.bincount(parts_HW[own_HW])[1:].max() > 0.9 * own_HW.sum()


def losses_of(kind, maps_MHW, target_HW, instances_HW):
    """The whole loss with a class loss of nothing, so that the maps' part is left."""

    class Nothing(torch.nn.Module):
        def forward(self, logits_BKHW, target_BHW):
            return logits_BKHW.sum() * 0

    loss = SeparatingLoss(Nothing(), 2, kind(reach=8.0), ignore_index=255)
    maps = torch.from_numpy(np.asarray(maps_MHW, np.float32))[None]
    output_BXHW = torch.cat([torch.zeros(1, 2, *target_HW.shape), maps], dim=1).requires_grad_()
    value = loss(
        output_BXHW, torch.from_numpy(target_HW)[None], torch.from_numpy(instances_HW)[None]
    )
    (gradient,) = torch.autograd.grad(value, output_BXHW)
    return float(value.detach()), gradient


@pytest.mark.parametrize("kind", ALL)
def test_the_loss_is_least_for_perfect_maps_and_ignored_pixels_count_for_nothing(kind):
    true_HW = SCENES["two that touch"].astype(np.int64)
    target_HW = (true_HW > 0).astype(np.int64)
    target_HW[:, :20] = 255
    perfect = PERFECT[kind](kind(reach=8.0).targets(true_HW))
    best, _ = losses_of(kind, perfect, target_HW, true_HW)
    worse, gradient = losses_of(kind, 0.5 - perfect, target_HW, true_HW)
    disturbed = 0.5 - perfect
    disturbed[..., :20] += 100
    assert best < 1e-3 < worse
    assert losses_of(kind, disturbed, target_HW, true_HW)[0] == pytest.approx(worse)
    assert not gradient[..., :20].any()
    assert bool(gradient[..., 20:].any())


def test_all_ignored_gives_a_loss_of_zero():
    true_HW = SCENES["one"].astype(np.int64)
    value, gradient = losses_of(Distance, np.ones((1, 40, 50)), np.full_like(true_HW, 255), true_HW)
    assert value == 0
    assert not gradient.any()


def test_what_is_left_out_is_spelled_out_from_the_objects():
    written = spelled_out("distance(saddle=0.7)", lambda: measured([SCENES["one"]]))
    assert build_separation(written) == Distance(reach=11.5, saddle=0.7, least_area=109)
    assert set(SEPARATIONS) == {"boundary", "centre", "distance"}


def test_a_speck_is_a_quarter_of_the_smallest_object_that_no_border_cuts():
    number_HW = np.zeros((60, 60), np.int32)
    number_HW[0:3, 0:3], number_HW[10:22, 10:22], number_HW[30:50, 30:50] = 1, 2, 3
    # The first percentile of 144 and 400 pixels is 146.56.
    assert measured([number_HW])["least_area"] == 36
    assert "least_area" not in measured([number_HW[:9, :9]])
    assert measured([np.zeros((9, 9), np.int32)]) == {}
    stray_HW = np.kron(np.arange(1, 401).reshape(20, 20), np.pad(np.ones((6, 6), int), 1))
    stray_HW[3, 3] = 999
    assert measured([np.pad(stray_HW, 1)])["least_area"] == 9


@pytest.mark.parametrize("kind", ALL)
def test_specks_are_none_but_at_the_border_where_they_touch_and_where_they_add_up(kind):
    true_HW = np.zeros((60, 60), np.int32)
    true_HW[10:30, 10:30] = 1
    true_HW[0:2, 40:43] = 2  # The border cuts it.
    true_HW[45:47, 45:48] = 3  # Alone.
    true_HW[59, 20] = 4  # Cut too, but next to nothing.
    separation = kind(reach=8.0)
    maps_MHW = PERFECT[kind](separation.targets(true_HW))
    found_HW = without_specks(separation.decode(maps_MHW, true_HW > 0), 20)
    expected_HW = in_order(np.where(true_HW > 2, 0, true_HW))
    assert (found_HW == expected_HW).all()


def test_specks_that_touch_an_object_are_its_own_and_those_that_add_up_are_one():
    number_HW = np.zeros((60, 60), np.int32)
    number_HW[10:30, 10:30] = 1
    number_HW[30:32, 14:17] = 2
    number_HW[28:30, 30:32] = 3
    number_HW[40:46, 40:46] = [[4] * 3 + [5] * 3] * 3 + [[6] * 3 + [7] * 3] * 3
    number_HW[50:53, 50:56] = [[8] * 3 + [9] * 3] * 3
    found_HW = without_specks(number_HW, 20)
    expected_HW = np.select(
        [(number_HW > 0) & (number_HW < 4), (number_HW > 3) & (number_HW < 8)], [1, 2]
    )
    assert (found_HW == expected_HW).all()
    assert (without_specks(number_HW, 1) == number_HW).all()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("distanse", "no separation is called 'distanse'.*Did you mean 'distance'"),
        ("distance(depth=3)", "has no option 'depth'"),
        ("centre(reach=0)", "reach of centre is 0"),
    ],
)
def test_what_cannot_be_is_refused(written, said):
    with pytest.raises(UsageError, match=f"(?s){said}"):
        build_separation(written)
