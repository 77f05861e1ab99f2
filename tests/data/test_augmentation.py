"""Augmentation: image and mask move together, labels stay labels, and the generator decides all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segkit.data.augmentation.crops import augment
from segkit.data.augmentation.presets import PRESETS, Preset, find_preset
from segkit.errors import UsageError
from segkit.interfaces import Sample

IGNORE = 255


def patches(height: int = 70, width: int = 90, channels: int = 3) -> Sample:
    """Square patches of 10 pixels; every channel of the image is the label times 20 plus 40."""
    rng = np.random.default_rng(3)
    mask_HW = np.kron(rng.integers(0, 5, (height // 10, width // 10)), np.ones((10, 10), np.int64))
    image_HWC = np.repeat((mask_HW * 20 + 40).astype(np.uint8)[:, :, None], channels, axis=2)
    return Sample(image_HWC, mask_HW, "patches", mask_HW * 1000)


def geometry(name: str) -> Preset:
    """The preset without its colours, so that pixel values still tell the label."""
    quiet = dict.fromkeys(("brightness", "contrast", "saturation", "tint", "gamma"), 0.0)
    return replace(PRESETS[name], **quiet, blur=0.0, noise=0.0)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", [16, 64, 120])
def test_image_mask_and_objects_move_together(name, size):
    shares = []
    for seed in range(6):
        moved = augment(patches(), size, geometry(name), IGNORE, np.random.default_rng(seed))
        assert moved.image.shape == (size, size, 3)
        counted_HW = moved.mask != IGNORE
        told_HW = (moved.image[:, :, 0].astype(float) - 40) / 20
        # Linear resampling mixes neighbours along the patches' borders; inside they must agree.
        right = np.abs(told_HW - moved.mask)[counted_HW] < 0.3
        shares.append(right.mean())
        assert np.array_equal(moved.instances[counted_HW], moved.mask[counted_HW] * 1000)
        assert not moved.instances[~counted_HW].any()
    assert np.mean(shares) > 0.8


def test_the_agreement_above_would_notice_a_mask_left_behind():
    sample = patches()
    moved = augment(sample, 64, geometry("standard"), IGNORE, np.random.default_rng(0))
    told_HW = (moved.image[:, :, 0].astype(float) - 40) / 20
    assert (np.abs(told_HW - sample.mask[:64, :64]) < 0.3).mean() < 0.5


@pytest.mark.parametrize("name", PRESETS)
def test_no_label_is_ever_made_up(name):
    sample = patches()
    sample = replace(sample, mask=np.where(sample.mask == 2, 200, sample.mask))
    for seed in range(10):
        moved = augment(sample, 96, PRESETS[name], IGNORE, np.random.default_rng(seed))
        assert set(np.unique(moved.mask)) <= {0, 1, 3, 4, 200, IGNORE}
        assert moved.mask.dtype == np.int64


@pytest.mark.parametrize("ignore", [-100, 255, 70_000])
def test_any_ignored_label_fills_what_lies_beyond(ignore):
    moved = augment(patches(20, 20), 32, PRESETS["none"], ignore, np.random.default_rng(0))
    assert (moved.mask == ignore).sum() == 32 * 32 - 20 * 20


def test_no_augmentation_is_a_plain_crop():
    sample = patches()
    moved = augment(sample, 32, PRESETS["none"], IGNORE, np.random.default_rng(5))
    windows = np.lib.stride_tricks.sliding_window_view(sample.mask, (32, 32))
    found = (windows == moved.mask).all(axis=(2, 3))
    (top, left), *_ = np.argwhere(found)
    assert np.array_equal(moved.image, sample.image[top : top + 32, left : left + 32])


def test_crops_reach_every_edge():
    sample = replace(patches(), mask=np.arange(70 * 90).reshape(70, 90))
    corners = [
        augment(sample, 60, PRESETS["none"], IGNORE, np.random.default_rng(s)).mask[0, 0]
        for s in range(400)
    ]
    rows, columns = np.divmod(corners, 90)
    assert (rows.min(), rows.max()) == (0, 10)
    assert (columns.min(), columns.max()) == (0, 30)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("name", ["standard", "strong", "microscopy"])
def test_every_depth_and_number_of_channels_works(name, channels, dtype):
    sample = patches(channels=channels)
    sample = replace(sample, image=sample.image.astype(dtype))
    for seed in range(3):
        moved = augment(sample, 48, PRESETS[name], IGNORE, np.random.default_rng(seed))
        assert moved.image.shape == (48, 48, channels)
        assert moved.image.dtype == dtype
        assert np.isfinite(moved.image.astype(float)).all()


def test_sixteen_bits_are_not_squeezed_into_eight():
    sample = patches()
    deep = replace(sample, image=sample.image.astype(np.uint16) * 250)
    moved = augment(deep, 48, PRESETS["standard"], IGNORE, np.random.default_rng(1))
    assert moved.image.max() > 10_000


def test_the_generator_decides_everything_and_the_sample_stays_as_it_was():
    sample = patches()
    before = sample.image.copy(), sample.mask.copy()
    first, again, other = (
        augment(sample, 64, PRESETS["strong"], IGNORE, np.random.default_rng(s)) for s in (1, 1, 2)
    )
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)
    assert np.array_equal(sample.image, before[0])
    assert np.array_equal(sample.mask, before[1])


def test_a_constant_image_survives_every_preset():
    flat = Sample(np.zeros((40, 40, 3), np.float32), np.zeros((40, 40), np.int64), "flat")
    for preset in PRESETS.values():
        moved = augment(flat, 32, preset, IGNORE, np.random.default_rng(0))
        assert np.isfinite(moved.image).all()


def test_a_single_row_of_pixels_can_be_padded():
    thin = Sample(np.zeros((1, 40, 3), np.uint8), np.zeros((1, 40), np.int64), "thin")
    moved = augment(thin, 32, PRESETS["standard"], IGNORE, np.random.default_rng(0))
    assert moved.image.shape == (32, 32, 3)


def test_a_picture_is_not_shrunk_below_the_crop():
    for seed in range(30):
        moved = augment(patches(), 64, geometry("standard"), IGNORE, np.random.default_rng(seed))
        assert (moved.mask != IGNORE).all()


def test_an_unknown_preset_is_refused_with_the_near_one():
    with pytest.raises(UsageError, match="no augmentation is called 'standart'") as error:
        find_preset("standart")
    assert error.value.fix.startswith("Did you mean 'standard'?")


def test_parts_of_a_preset_can_be_written_otherwise():
    changed = find_preset(
        "standard(flips=none, scale=[0.8, 1.25], quarters=true, noise=0)", "classes"
    )
    wanted = {"flips": "none", "scale": (0.8, 1.25), "quarters": True, "noise": 0.0}
    assert changed == replace(PRESETS["standard"], **wanted, aim="classes")


@pytest.mark.parametrize(
    ("written", "code", "told"),
    [
        ("light(flip=both)", "SK-C005", "Did you mean 'flips'?"),
        ("light(flips=sideways)", "SK-C006", "one of none, horizontal, both"),
        ("light(scale=[2, 1])", "SK-C006", "two numbers from 0.1 to 10"),
        ("light(noise=1.5)", "SK-C006", "a number from 0 to 1"),
        ("light(quarters=1)", "SK-C006", "true or false"),
    ],
)
def test_a_wrong_part_of_a_preset_is_refused(written, code, told):
    with pytest.raises(UsageError) as refused:
        find_preset(written)
    assert refused.value.code == code
    assert told in str(refused.value)
