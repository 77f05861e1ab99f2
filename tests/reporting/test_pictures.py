"""Overlays, sheets and masks: pixel by pixel."""

import numpy as np
import pytest
from PIL import Image

from segkit.reporting.pictures import (
    IGNORED,
    colour_mask,
    overlay,
    palette_for,
    side_by_side,
    to_uint8,
    write_mask,
)

PALETTE = [(0, 0, 0), (200, 100, 0), (0, 0, 255)]


def test_a_mask_is_read_back_with_the_classes_it_was_written_with(tmp_path):
    label_HW = np.arange(256).reshape(8, 32)
    write_mask(tmp_path / "mask.png", label_HW, PALETTE, ignore_index=255)
    mask = Image.open(tmp_path / "mask.png")
    assert mask.mode == "P"
    assert np.array_equal(np.asarray(mask), label_HW)
    shown_HWC = np.asarray(mask.convert("RGB"))
    assert tuple(shown_HWC[0, 1]) == PALETTE[1]
    assert tuple(shown_HWC[7, 31]) == IGNORED


def test_more_classes_than_a_byte_holds_are_written_exactly_too(tmp_path):
    label_HW = np.array([[0, 255, 256, 40000]])
    write_mask(tmp_path / "mask.png", label_HW, PALETTE)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "mask.png")), label_HW)


@pytest.mark.parametrize("label", [-1, 65536])
def test_a_label_that_a_png_cannot_hold_is_refused(tmp_path, label):
    with pytest.raises(ValueError, match="from 0 to 65535"):
        write_mask(tmp_path / "mask.png", np.array([[label]]), PALETTE)


def test_an_overlay_mixes_colour_and_image_by_hand():
    image_HWC = np.full((1, 3, 3), 100, np.uint8)
    mixed_HWC = overlay(image_HWC, np.array([[0, 1, 255]]), PALETTE, ignore_index=255, alpha=0.25)
    assert mixed_HWC.tolist() == [[[75, 75, 75], [125, 100, 75], [100, 100, 100]]]
    assert mixed_HWC.dtype == np.uint8


def test_ignored_pixels_are_grey_in_a_coloured_mask():
    coloured_HWC = colour_mask(np.array([[1, 255]]), PALETTE, ignore_index=255)
    assert coloured_HWC.tolist() == [[[200, 100, 0], list(IGNORED)]]


def test_every_class_of_many_has_a_colour_of_its_own():
    colours = palette_for(64)
    assert len(set(colours)) == 64
    assert colours[0] == (0, 0, 0)


def test_given_colours_come_first_and_missing_ones_are_added():
    assert palette_for(2, PALETTE) == tuple(PALETTE[:2])
    assert palette_for(5, PALETTE)[:3] == tuple(PALETTE)
    assert len(set(palette_for(5, PALETTE))) == 5


@pytest.mark.parametrize(
    ("pixels", "full_scale", "expected"),
    [
        (np.array([[[7]]], np.uint8), 255, [7, 7, 7]),
        (np.array([[7]], np.uint8), 255, [7, 7, 7]),
        (np.array([[[1, 2]]], np.uint8), 255, [1, 2, 0]),
        (np.array([[[1, 2, 3, 4]]], np.uint8), 255, [1, 2, 3]),
        (np.array([[[0, 32768, 65535]]], np.uint16), 65535, [0, 128, 255]),
        (np.array([[[-0.5, 0.5, 2.0]]], np.float32), 1.0, [0, 128, 255]),
        (np.array([[[np.nan, 1.0, np.inf]]], np.float32), 1.0, [0, 255, 255]),
    ],
)
def test_any_image_becomes_three_bytes_a_pixel(pixels, full_scale, expected):
    assert to_uint8(pixels, full_scale)[0, 0].tolist() == expected


def test_pictures_stand_in_a_row_with_room_for_their_titles():
    left, right = np.zeros((10, 20, 3), np.uint8), np.full((6, 30, 3), 9, np.uint8)
    sheet_HWC = side_by_side([left, right], ["image", "truth"])
    assert sheet_HWC.shape == (10 + 16, 20 + 4 + 30, 3)
    assert np.array_equal(sheet_HWC[16:, :20], left)
    assert np.array_equal(sheet_HWC[16:22, 24:], right)
    assert side_by_side([left, right]).shape == (10, 54, 3)
