"""Where training crops are cut: anywhere, at the foreground, or at each class equally often."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segkit.data.augmentation import crops
from segkit.data.augmentation.crops import augment, fitting
from segkit.data.augmentation.presets import AIMS, PRESETS, find_preset
from segkit.data.loader import TrainingLoader
from segkit.errors import SegkitError, UsageError
from segkit.interfaces import Sample

IGNORE = 255


class OneImage:
    """200 x 200 pixels of class 0, with 4 x 4 of class 1, 40 x 40 of class 2 and an ignored rim."""

    classes = ("ground", "rare", "common")
    palette = ((0, 0, 0), (255, 0, 0), (0, 255, 0))
    ignore_index = IGNORE

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Sample:
        mask_HW = np.zeros((200, 200), np.int64)
        mask_HW[:10] = IGNORE
        mask_HW[150:154, 30:34] = 1
        mask_HW[60:100, 120:160] = 2
        return Sample(mask_HW.astype(np.uint8)[:, :, None], mask_HW, f"{index}")


def share_with(aim: str, label: int, *, size: int = 32, crops: int = 300) -> float:
    preset, sample = find_preset("none", aim), OneImage()[0]
    masks = [
        augment(sample, size, preset, IGNORE, np.random.default_rng(seed)).mask
        for seed in range(crops)
    ]
    return float(np.mean([(mask_HW == label).any() for mask_HW in masks]))


def test_crops_by_classes_show_each_class_about_equally_often():
    # Anywhere, a square of 32 shows the 4 x 4 pixels in (32 + 3)^2 of (200 - 31)^2 places.
    assert share_with("anywhere", 1) == pytest.approx(35**2 / 169**2, abs=0.03)
    for label in (1, 2):
        assert share_with("classes", label) == pytest.approx(1 / 3, abs=0.1)


def test_every_second_crop_by_foreground_is_centred_on_it():
    by_chance = 1 - (1 - 35**2 / 169**2) * (1 - 71**2 / 169**2)
    preset, sample = find_preset("none", "foreground"), OneImage()[0]
    shown = [
        np.isin(
            augment(sample, 33, preset, IGNORE, np.random.default_rng(seed)).mask[16, 16], [1, 2]
        )
        for seed in range(2000)
    ]
    assert np.mean(shown) == pytest.approx(0.5 + 0.5 * (40**2 + 16) / 169**2, abs=0.04)
    either = share_with("foreground", 2) + share_with("foreground", 1)
    assert either > 0.4 + by_chance / 2


@pytest.mark.parametrize("aim", AIMS)
@pytest.mark.parametrize("mask_HW", [np.zeros((40, 50), np.int64), np.full((40, 50), IGNORE)])
def test_a_picture_without_foreground_or_without_labels_is_cut_too(aim, mask_HW):
    sample = Sample(np.zeros((40, 50, 3), np.uint8), mask_HW, "empty")
    moved = augment(sample, 32, find_preset("strong", aim), IGNORE, np.random.default_rng(1))
    assert set(np.unique(moved.mask)) <= set(np.unique(mask_HW)) | {IGNORE}


@pytest.mark.parametrize("aim", ["foreground", "classes"])
@pytest.mark.parametrize("name", PRESETS)
def test_placed_crops_stay_within_the_picture_and_fit_every_preset(aim, name):
    sample = OneImage()[0]
    for seed in range(20):
        moved = augment(sample, 64, find_preset(name, aim), IGNORE, np.random.default_rng(seed))
        counted_HW = moved.mask != IGNORE
        # The image holds the label itself; colours aside, it moved with its mask.
        assert moved.image.shape == (64, 64, 1) and counted_HW.any()


def test_crops_depend_on_seed_epoch_and_index_alone_whatever_the_workers():
    def targets(workers: int, start: int) -> list[np.ndarray]:
        loader = TrainingLoader(
            OneImage(), size=32, batch=2, seed=5, crops="classes", workers=workers
        )
        return [batch.target_BHW.numpy() for batch in loader.epoch(3, start)]

    here, there = targets(0, 0), targets(2, 0)
    assert np.array_equal(here, there)
    assert np.array_equal(targets(0, 1)[0], here[1])


def test_an_unknown_way_of_placing_crops_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="crops cannot be placed by 'class'") as caught:
        find_preset("none", "class")
    known = "anywhere, foreground, classes, middle"
    assert caught.value.fix == f"Did you mean 'classes'? There are {known}."


@pytest.mark.parametrize(
    "broken",
    [
        {"mask": np.zeros((32, 31), np.int64)},
        {"mask": np.zeros((32, 32), np.int16)},
        {"mask": np.zeros((32, 32), np.float32)},
        {"image": np.zeros((31, 32, 1), np.uint8)},
        {"image": np.zeros((32, 32, 1), np.float64)},
        {"mask": None},
        {"instances": np.zeros((32, 30), np.int64)},
    ],
)
def test_a_pipeline_that_breaks_size_or_type_is_told(broken):
    right = Sample(np.zeros((32, 32, 1), np.uint8), np.zeros((32, 32), np.int64), "street/7")
    assert fitting(right, 32, np.dtype(np.uint8)) is right
    with pytest.raises(SegkitError, match=r"SK-D030: .* of street/7, not squares"):
        fitting(replace(right, **broken), 32, np.dtype(np.uint8))


def test_a_broken_step_of_the_pipeline_reaches_the_user_as_that_error(monkeypatch):
    monkeypatch.setattr(crops, "_flip", lambda image, planes, *_: (image[:-1], planes))
    loader = TrainingLoader(OneImage(), size=32, batch=2, seed=0)
    with pytest.raises(SegkitError, match=r"augmentation made uint8 \(31, 32\), uint8 \(32, 32\)"):
        next(iter(loader.epoch(0)))


def test_the_u_net_papers_deformation_moves_pixels_by_about_what_it_says():
    # 10 pixels of standard deviation on tiles of 512, so 0.02 of the side; 3 x 3 control points.
    spread = PRESETS["microscopy"].elastic * 512
    assert spread == pytest.approx(10, abs=0.5)
    moves_NHW = np.stack(
        [crops._bumps(512, spread, np.random.default_rng(seed)) for seed in range(300)]
    )
    # The middle is a point of the grid; a normal draw held within two deviations keeps 0.96 of
    # its own.
    assert moves_NHW[:, 256, 256].std() == pytest.approx(0.96 * spread, rel=0.1)
    assert abs(moves_NHW.mean()) < 1
    # Smooth: neighbours move nearly alike, so no label is torn.
    assert np.abs(np.diff(moves_NHW, axis=2)).max() < 0.5


@pytest.mark.parametrize(("size", "top", "left"), [(20, 15, 75), (60, -5, 55)])
def test_a_crop_of_the_middle_is_the_same_whatever_the_seed(size, top, left):
    image_HW = np.arange(50 * 170, dtype=np.uint16).reshape(50, 170)
    sample = Sample(image_HW[..., None], np.ones((50, 170), np.int64), "wide")
    crops = [
        augment(sample, size, find_preset("none", "middle"), IGNORE, np.random.default_rng(seed))
        for seed in range(5)
    ]
    assert all(np.array_equal(crops[0].image, each.image) for each in crops)
    inside_HW = crops[0].image[max(0, -top) : max(0, -top) + min(size, 50), :, 0]
    assert np.array_equal(inside_HW, image_HW[max(top, 0) : max(top, 0) + size, left : left + size])
