"""Overlays, sheets and masks: pixel by pixel."""

import numpy as np
import pytest
from PIL import Image

from segkit.reporting.pictures import (
    IGNORED,
    overlay,
    palette_for,
    shown,
    to_uint8,
    write_mask,
)
from segkit.reporting.sheets import (
    INVENTED,
    MISSED,
    RIGHT,
    enlarged,
    error_picture,
    explained,
    legend_rows,
    mean_iou,
    sample_sheet,
    side_by_side,
    with_legend,
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


def test_an_overlay_tints_classes_outlines_them_and_leaves_class_0_as_it_is():
    image_HWC, label_HW = np.full((9, 9, 3), 100, np.uint8), np.zeros((9, 9), int)
    label_HW[2:7, 2:7] = 1
    mixed_HWC = overlay(image_HWC, label_HW, PALETTE, alpha=0.25)
    assert (mixed_HWC[label_HW == 0] == 100).all()
    assert mixed_HWC[4, 4].tolist() == [125, 100, 75]
    assert [tuple(mixed_HWC[place]) for place in ((2, 4), (4, 6), (6, 2))] == [PALETTE[1]] * 3
    assert mixed_HWC.dtype == np.uint8


def test_ignored_pixels_are_hatched_over_the_image():
    image_HWC, label_HW = np.full((16, 16, 3), 100, np.uint8), np.zeros((16, 16), int)
    label_HW[:8] = 255
    drawn_HWC = overlay(image_HWC, label_HW, PALETTE, ignore_index=255)
    assert (drawn_HWC[8:] == 100).all()
    assert {tuple(each) for each in drawn_HWC[:8].reshape(-1, 3)} == {(100, 100, 100), IGNORED}


def test_a_dim_image_is_brightened_for_the_picture_and_said():
    image_HWC = np.full((20, 20, 1), 25, np.uint8)
    picture_HWC, note = shown(image_HWC)
    assert picture_HWC.max() == 255
    assert note == "brightened 10.2 times to be seen"
    assert shown(image_HWC * 9)[1] == ""
    black_HWC, note = shown(np.zeros((3, 3, 1), np.uint8))
    assert (black_HWC.max(), note) == (0, "")


def test_errors_are_drawn_in_three_colours_with_their_shares():
    truth_HW, label_HW = np.zeros((2, 10, 20), int)
    truth_HW[:, :10] = 1
    label_HW[:, 5:15] = 1
    truth_HW[9] = 255
    plain_HWC = np.zeros((10, 20, 3), np.uint8)
    drawn_HWC, rows = error_picture(plain_HWC, truth_HW, label_HW, 255)
    assert [colour for colour, _ in rows] == [RIGHT, MISSED, INVENTED]
    assert [text for _, text in rows] == ["right: 25.0%", "missed: 25.0%", "invented: 25.0%"]
    assert [tuple(drawn_HWC[0, column]) for column in (4, 5, 14)] == [MISSED, RIGHT, INVENTED]
    assert (drawn_HWC[:8, 17:] == 0).all()


def test_a_background_that_is_not_class_0_is_left_as_it_is_and_what_lies_in_it_was_invented():
    truth_HW, label_HW = np.full((2, 10, 20), 2)
    truth_HW[:, :10] = 0
    label_HW[:, 5:15] = 0
    plain_HWC = np.zeros((10, 20, 3), np.uint8)
    drawn_HWC, rows = error_picture(plain_HWC, truth_HW, label_HW, None, background=2)
    assert [text for _, text in rows] == ["right: 25.0%", "missed: 25.0%", "invented: 25.0%"]
    assert (drawn_HWC[:, 17:] == 0).all()
    palette = ((9, 99, 199), *PALETTE[1:])
    laid_HWC = overlay(plain_HWC, label_HW, palette, background=2)
    assert (laid_HWC[:, :4] == 0).all() and laid_HWC[:, 7].any(axis=-1).all()
    names = ("digit", "b", "paper")
    assert legend_rows(label_HW, palette, names, None, 2) == [
        (palette[0], "digit: 50.0%"),
        (None, "paper: 50.0% (not coloured)"),
    ]


def test_objects_that_touch_are_outlined_each_where_they_are_numbered():
    image_HWC, label_HW = np.full((9, 12, 3), 100, np.uint8), np.ones((9, 12), int)
    number_HW = np.ones((9, 12), int)
    number_HW[:, 6:] = 2
    joined_HWC = overlay(image_HWC, label_HW, PALETTE)
    apart_HWC = overlay(image_HWC, label_HW, PALETTE, number_HW=number_HW)
    assert (joined_HWC == joined_HWC[0, 0]).all()
    assert (apart_HWC[:, 5:7] == PALETTE[1]).all()
    assert np.array_equal(apart_HWC[:, :5], joined_HWC[:, :5])


def test_a_sheet_is_grey_beneath_colours_and_tells_errors_apart_from_classes():
    image_HWC, label_HW = np.full((300, 300, 3), (200, 90, 10), np.uint8), np.zeros((300, 300), int)
    label_HW[:20, :20] = 1
    sheet_HWC = sample_sheet(image_HWC, label_HW, label_HW, PALETTE, ("a", "b", "c"))
    first, *others = (sheet_HWC[200, left + 150].tolist() for left in (0, 304, 608, 912))
    assert first == [200, 90, 10]
    assert all(len(set(pixel)) == 1 for pixel in others)
    picture_HWC = np.zeros((10, 400, 3), np.uint8)
    rows = [(PALETTE[1], "b 1.0%")]
    together = with_legend(picture_HWC, [*rows, (RIGHT, "right")])
    apart = with_legend(picture_HWC, rows, [(RIGHT, "right")])
    assert apart.shape[0] == together.shape[0] + 18


def test_the_score_of_an_image_is_its_mean_iou():
    truth_HW, label_HW = np.array([[0, 0, 1, 1, 255]]), np.array([[0, 1, 1, 1, 2]])
    assert mean_iou(truth_HW, label_HW, 3, 255) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert np.isnan(mean_iou(np.full((1, 2), 255), np.zeros((1, 2), int), 3, 255))


def test_the_legend_names_what_occurs_with_its_share():
    label_HW = np.array([[0, 0, 2, 255]])
    rows = legend_rows(label_HW, PALETTE, ("sky", "road", "<b>car"), 255)
    assert rows == [
        (None, "sky: 50.0% (not coloured)"),
        (PALETTE[2], "<b>car: 25.0%"),
        (None, "hatched, ignored: 25.0%"),
    ]


@pytest.mark.parametrize("size", [(1, 1), (64, 84), (700, 300)])
def test_sheets_of_any_size_can_be_seen(size):
    image_HWC = np.zeros((*size, 1), np.uint8)
    label_HW = np.zeros(size, int)
    small_HWC = explained(image_HWC, label_HW, PALETTE, ("a", "b", "c"))
    assert small_HWC.shape[1] >= 256
    assert small_HWC.shape[0] > enlarged(label_HW).shape[0]
    with_truth = sample_sheet(image_HWC, label_HW, label_HW, PALETTE, ("a", "b", "c"))
    without = sample_sheet(image_HWC, None, label_HW, PALETTE, ("a", "b", "c"))
    assert with_truth.shape[1] > 1.9 * without.shape[1]


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
