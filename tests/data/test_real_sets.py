"""Real data sets, where SEGKIT_TEST_DATA names their folder: each gets the right verdict."""

from __future__ import annotations

import numpy as np
import pytest

from segkit.data.files.images import read_image
from segkit.data.files.masks import read_values, scan_mask
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import DataError


def opened(root, name, **options):
    return open_data(root / name, DataOptions(**options))


def test_isbi_2012_is_binary_by_lists(real_data):
    data = opened(real_data, "isbi2012")
    assert (len(data.split("train")), len(data.split("val"))) == (20, 4)
    assert (len(data.classes), data.in_channels, data.default_size) == (2, 1, 512)
    assert set(np.unique(data.split("val")[0].mask)) == {0, 1}


def test_m2nist_has_eleven_classes_with_the_background_last(real_data):
    data = opened(real_data, "m2nist")
    assert (len(data.classes), data.ignore_index) == (11, None)
    assert (len(data.split("train")), len(data.split("val"))) == (600, 100)
    assert "Label 10 covers 94" in str(data.notes)


def test_camvid_has_twelve_labels_of_which_the_last_can_be_ignored(real_data):
    assert "if it means void, pass --ignore-index 11" in str(opened(real_data, "camvid").notes)
    data = opened(real_data, "camvid", ignore_index=11)
    assert (len(data.classes), data.ignore_index, data.default_size) == (11, 11, 352)


@pytest.mark.parametrize("name", ["ctc_phc_u373", "ctc_dic_hela", "quirks/tiff_lzw_mask16"])
def test_cell_tracking_masks_are_known_for_object_numbers(real_data, name):
    with pytest.raises(DataError, match="look like object numbers") as error:
        opened(real_data, name)
    assert "--instances foreground" in error.value.fix
    data = opened(real_data, name, instances="foreground")
    sample = data.split("all")[0]
    assert len(data.classes) == 2
    assert sample.instances.max() > 1
    assert np.array_equal(sample.instances > 0, sample.mask == 1)


def test_drive_and_dsb_are_binary_with_odd_sizes_and_alpha(real_data):
    drive, nuclei = opened(real_data, "drive"), opened(real_data, "dsb2018")
    assert (len(drive.classes), drive.in_channels) == (2, 3)
    assert drive.split("all")[0].image.shape == (584, 565, 3)
    assert "alpha is dropped in 24" in str(nuclei.notes)


def test_pets_with_an_ignored_border_have_three_classes(real_data):
    data = opened(real_data, "pets_cat_dog")
    assert (len(data.classes), data.ignore_index) == (3, 255)


def test_trimaps_are_refused_with_the_mapping_for_pets(real_data):
    with pytest.raises(DataError, match=r"start at 1 \(1 to 3\)") as error:
        opened(real_data, "pets_sample")
    assert "label_mapping: {1: 1, 2: 0, 3: ignore}" in error.value.fix


def test_voc_palettes_give_21_classes_by_name(real_data):
    data = opened(real_data, "quirks/palette_png_void255")
    assert (len(data.classes), data.classes[15], data.ignore_index) == (21, "person", 255)
    assert data.palette[15] == (192, 128, 128)


def test_smoothed_masks_are_found_among_one_bit_ones(real_data):
    with pytest.raises(DataError, match=r"SK-D008: .*holds 36 values between 0 and 255"):
        opened(real_data, "quirks/onebit_and_stray_values")


def test_a_stack_is_refused_and_gif_and_jpeg_masks_are_told_apart(real_data):
    with pytest.raises(DataError, match="holds 24 pages"):
        read_image(real_data / "quirks/multipage_tiff/images/stack09.tif")
    assert set(np.unique(read_values(real_data / "quirks/gif_mask/masks/21.gif"))) == {0, 255}
    facts = scan_mask(real_data / "quirks/jpeg_mask/masks/00.jpg")
    assert (facts.format, len(facts.counts)) == ("JPEG", 51)
