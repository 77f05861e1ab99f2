"""Masks: what their values mean is found out over all files, or refused, with the repair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.data.files.masks import pack, read_values, scan_mask, unpack
from segkit.data.masks.colours import dark_for_background, default_palette, voc_colour
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import DataError

SIDE = 32


def plane(*values: int, dtype: type = np.uint8) -> np.ndarray:
    """Horizontal bands of the values given."""
    rows = np.repeat(np.array(values, dtype), -(-SIDE // len(values)))[:SIDE]
    return np.repeat(rows[:, None], SIDE, axis=1)


def colours(*values: tuple[int, int, int]) -> np.ndarray:
    return np.array(values, np.uint8)[plane(*range(len(values)))]


def refusal(root: Path, **options: object) -> DataError:
    with pytest.raises(DataError) as error:
        open_data(root, DataOptions(**options))
    return error.value


def test_black_and_white_become_two_classes_and_it_is_said(make_set):
    data = open_data(make_set({"a": plane(0, 255), "b": plane(255, 0)}))
    assert data.classes == ("background", "foreground")
    assert data.ignore_index is None
    assert set(np.unique(data.split("all")[0].mask)) == {0, 1}
    assert "Masks: 0 and 255, read as 2 classes: 0 is background, 255 is foreground (50.0%" in str(
        data.notes
    )


def test_255_beside_classes_is_ignored_and_its_share_said(make_set):
    data = open_data(make_set({"a": plane(0, 1, 2, 255), "b": plane(0, 1, 2, 2)}))
    assert len(data.classes) == 3
    assert data.ignore_index == 255
    assert "Value 255 (12.5% of the pixels) is ignored." in data.notes


def test_one_bit_masks_mix_with_black_and_white_ones(make_set):
    root = make_set({"a": plane(0, 255), "b": plane(0, 255)})
    Image.fromarray(plane(0, 255)).convert("1").save(root / "masks" / "b.png")
    data = open_data(root)
    assert np.array_equal(data.split("all")[1].mask, plane(0, 1))


def test_foreground_written_as_1_here_and_255_there_is_refused(make_set):
    root = make_set({"a": plane(0, 1), "b": plane(0, 255)})
    error = refusal(root)
    assert error.code == "SK-D007"
    assert "--label-mapping '{255: 1}'" in error.fix
    assert f"`ignore_index: 255` in {root / 'data.yaml'}" in error.fix


def test_a_gif_and_a_grey_rgb_mask_are_read_as_indices(tmp_path):
    Image.fromarray(plane(0, 255)).save(tmp_path / "a.gif")
    Image.fromarray(np.repeat(plane(0, 1, 2)[:, :, None], 3, 2)).save(tmp_path / "b.png")
    assert np.array_equal(read_values(tmp_path / "a.gif") > 0, plane(0, 255) > 0)
    assert np.array_equal(read_values(tmp_path / "b.png"), plane(0, 1, 2))


def test_deep_masks_keep_their_numbers(tmp_path):
    deep = plane(0, 300, 40_000, dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert np.array_equal(read_values(tmp_path / "a.png"), deep)
    assert scan_mask(tmp_path / "a.png").counts.keys() == {0, 300, 40_000}


def with_palette(values: np.ndarray, palette: list[tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(values, "L")
    image.putpalette([part for colour in palette for part in colour])
    return image


def test_one_palette_for_all_files_means_index_is_class(make_set):
    root = make_set({"a": plane(0, 1), "b": plane(0, 1, 2)})
    palette = [(9, 9, 9), (200, 0, 0), (0, 0, 200)]
    with_palette(plane(0, 1), palette).save(root / "masks" / "a.png")
    with_palette(plane(0, 1, 2), palette).save(root / "masks" / "b.png")
    data = open_data(root)
    assert np.array_equal(data.split("all")[1].mask, plane(0, 1, 2))
    assert data.palette == ((9, 9, 9), (200, 0, 0), (0, 0, 200))


def test_palettes_that_differ_mean_colour_is_class(make_set):
    yaml = "names: [sea, land]\npalette: {sea: [0, 0, 200], land: [0, 200, 0]}\n"
    root = make_set({"a": plane(0, 1), "b": plane(0, 1)}, yaml=yaml)
    with_palette(plane(0, 1), [(0, 0, 200), (0, 200, 0)]).save(root / "masks" / "a.png")
    with_palette(plane(0, 1), [(0, 200, 0), (0, 0, 200)]).save(root / "masks" / "b.png")
    data = open_data(root)
    assert np.array_equal(data.split("all")[0].mask, plane(0, 1))
    assert np.array_equal(data.split("all")[1].mask, plane(1, 0))
    (root / "data.yaml").unlink()
    assert refusal(root).code == "SK-D007"


def test_grey_palettes_in_an_order_of_their_own_are_read_as_greys(make_set):
    root = make_set({n: plane(0, 1) for n in "ab"})
    with_palette(plane(0, 1), [(0, 0, 0), (255, 255, 255)]).save(root / "masks" / "a.png")
    with_palette(plane(0, 1), [(255, 255, 255), (0, 0, 0)]).save(root / "masks" / "b.png")
    data = open_data(root)
    assert np.array_equal(data.split("all")[0].mask, plane(0, 1))
    assert np.array_equal(data.split("all")[1].mask, plane(1, 0))


def test_colour_masks_without_a_map_are_refused_with_a_draft(make_set):
    masks = {"a": colours((0, 0, 0), (200, 0, 0)), "b": colours((0, 0, 0), (200, 0, 0))}
    error = refusal(make_set(masks))
    assert error.code == "SK-D007"
    assert "palette:\n  class 0: [0, 0, 0]\n  class 1: [200, 0, 0]" in error.fix


def test_the_draft_for_colour_masks_works_when_it_is_pasted(make_set):
    masks = {"a": colours((0, 0, 0), (200, 0, 0)), "b": colours((0, 0, 0), (200, 0, 0))}
    draft = refusal(make_set(masks)).fix.split(":\n", 1)[1]
    data = open_data(make_set(masks, yaml=draft, folder="again"))
    assert data.classes == ("class 0", "class 1")
    assert np.array_equal(data.split("all")[0].mask, plane(0, 1))


def test_colours_beyond_the_palette_are_told_and_can_be_ignored(make_set):
    masks = {n: colours((0, 0, 0), (200, 0, 0), (224, 224, 192)) for n in "ab"}
    yaml = "names: [ground, car]\npalette: {ground: [0, 0, 0], car: [200, 0, 0]%s}\n"
    error = refusal(make_set(masks, yaml=yaml % ""))
    assert error.code == "SK-D012"
    assert "(224, 224, 192): 640 pixels in 2 masks, such as" in error.what
    data = open_data(make_set(masks, yaml=yaml % ", ignore: [224, 224, 192]"))
    assert data.ignore_index == 255
    assert np.array_equal(data.split("all")[0].mask, plane(0, 1, 255))


def test_jpeg_masks_are_refused_unless_binarized(make_set):
    root = make_set({"a": plane(0, 255), "b": plane(0, 255)})
    for name in "ab":
        (root / "masks" / f"{name}.png").unlink()
        disc = np.hypot(*np.mgrid[-16:16, -16:16]) < 10
        Image.fromarray(disc.astype(np.uint8) * 255).save(root / "masks" / f"{name}.jpg")
    error = refusal(root)
    assert error.code == "SK-D008"
    assert "2 masks are JPEG, which smears labels" in error.what
    assert "binarize: 128" in error.fix
    assert "--binarize 128" in error.fix
    assert np.array_equal(open_data(root, DataOptions(binarize=128)).split("all")[0].mask, disc)
    (root / "data.yaml").write_text("binarize: 128\n")
    assert np.array_equal(open_data(root).split("all")[0].mask, disc)
    assert (
        not open_data(root, DataOptions(binarize=255, num_classes=2))
        .split("all")[0]
        .mask[16, 6:8]
        .all()
    )


def test_smoothed_masks_are_refused_with_a_threshold(make_set):
    smooth = plane(0, 255).copy()
    smooth[15], smooth[16], smooth[14] = 85, 170, 20
    error = refusal(make_set({"a": smooth, "b": plane(0, 255)}))
    assert error.code == "SK-D008"
    assert "holds 5 values between 0 and 255" in error.what
    assert "binarize: 128" in error.fix


def test_labels_that_start_at_1_are_refused_with_a_mapping(make_set):
    error = refusal(make_set({"a": plane(1, 2, 3), "b": plane(1, 2, 3)}))
    assert error.code == "SK-D007"
    assert "the masks' values start at 1 (1 to 3)" in error.what
    assert "label_mapping: {1: 0, 2: 1, 3: 2}" in error.fix
    assert "label_mapping: {1: 1, 2: 0, 3: ignore}" in error.fix


def test_the_trimap_line_proposed_reads_pet_background_and_border(make_set):
    yaml = "label_mapping: {1: 1, 2: 0, 3: ignore}\nnames: [background, pet]\n"
    data = open_data(make_set({"a": plane(1, 2, 3), "b": plane(1, 2, 3)}, yaml=yaml))
    assert np.array_equal(data.split("all")[0].mask, plane(1, 0, 255))
    assert (data.classes, data.ignore_index) == (("background", "pet"), 255)


def test_ignoring_label_0_shifts_the_classes_by_a_mapping(make_set):
    root = make_set({n: plane(0, 1, 2) for n in "ab"})
    error = refusal(root, ignore_index=0)
    line = "label_mapping: {0: ignore, 1: 0, 2: 1}"
    assert line in error.fix
    (root / "data.yaml").write_text(line)
    assert np.array_equal(open_data(root).split("all")[0].mask, plane(255, 0, 1))


def test_gaps_are_refused_with_a_mapping(make_set):
    error = refusal(make_set({"a": plane(0, 50, 100), "b": plane(0, 50, 100)}))
    assert error.code == "SK-D007"
    assert "label_mapping: {0: 0, 50: 1, 100: 2}" in error.fix


def test_a_single_value_is_nothing_to_learn(make_set):
    error = refusal(make_set({"a": plane(0), "b": plane(0)}))
    assert error.code == "SK-D007"
    assert "all 2 masks hold only the value 0" in error.what
    assert open_data(
        make_set({"a": plane(0), "b": plane(0)}), DataOptions(num_classes=2)
    ).classes == (
        "background",
        "foreground",
    )


def blobs(count: int) -> np.ndarray:
    mask = np.zeros((64, 64), np.uint8)
    for number in range(count):
        row, column = divmod(number, 4)
        mask[row * 15 + 2 : row * 15 + 10, column * 15 + 2 : column * 15 + 10] = number + 1
    return mask


def test_object_numbers_are_refused_as_classes_and_read_as_foreground(make_set):
    root = make_set({"a": blobs(5), "b": blobs(7), "c": blobs(3)})
    error = refusal(root)
    assert error.code == "SK-D007"
    assert "the masks' values (0 to 7) look like object numbers" in error.what
    assert "--instances foreground" in error.fix
    sample = open_data(root, DataOptions(instances="foreground")).split("all")[1]
    assert np.array_equal(sample.mask, blobs(7) > 0)
    assert np.array_equal(sample.instances, blobs(7))


def test_object_numbers_that_are_said_to_be_classes_are_believed(make_set):
    names = ", ".join("abcdefgh")
    root = make_set({"a": blobs(5), "b": blobs(7)}, yaml=f"names: [{names}]\n")
    assert len(open_data(root).classes) == 8


def test_classes_in_scattered_patches_are_not_taken_for_objects(make_set):
    rng = np.random.default_rng(0)
    scattered = {
        n: np.kron(rng.integers(0, k, (8, 8), dtype=np.uint8), np.ones((4, 4), np.uint8))
        for n, k in (("a", 6), ("b", 5), ("c", 4))
    }
    assert len(open_data(make_set(scattered)).classes) == 6


def test_a_label_beyond_the_classes_is_told_with_pixels_and_files(make_set):
    names = ", ".join("abcdefghijk")
    yaml = f"names: [{names}]\n"
    root = make_set({"a": plane(0, 1, 11), "b": plane(0, 10)}, yaml=yaml)
    error = refusal(root)
    assert error.code == "SK-D012"
    assert error.what == (
        f"{root / 'masks' / 'a.png'}: 320 pixels hold label 11, which is none of the 11 classes "
        "(0 to 10) and no label is ignored. The first lies in row 22, column 0 (from 0)."
    )
    assert error.fix == (
        "If it is a class, say so: --num-classes 12, or add its name to `names` in "
        f"{root / 'data.yaml'}. If it counts for nothing: --ignore-index 11, or `ignore_index: 11` "
        f"in {root / 'data.yaml'}."
    )


def test_an_ignored_label_can_be_named(make_set):
    root = make_set({"a": plane(0, 1, 2), "b": plane(0, 1, 2)})
    assert "void" not in str(open_data(root).notes)
    data = open_data(root, DataOptions(ignore_index=2))
    assert (len(data.classes), data.ignore_index) == (2, 2)
    assert np.array_equal(data.split("all")[0].mask, plane(0, 1, 2))


def fields_with_bands(thickness: int) -> np.ndarray:
    """Six fields of the classes 0 and 1, with a band of 2 wherever two of them meet."""
    mask = np.kron(np.array([[0, 1, 0], [1, 0, 1]], np.uint8), np.ones((30, 30), np.uint8))
    for border in (30, 60):
        mask[:, border : border + thickness] = 2
    mask[30 : 30 + thickness] = 2
    return mask


def test_void_is_spoken_of_where_a_label_is_a_thin_band_in_every_mask(make_set):
    bands = make_set(dict.fromkeys("ab", fields_with_bands(2)))
    assert "if it means void, pass --ignore-index 2" in str(open_data(bands).notes)
    broad = make_set(dict.fromkeys("ab", fields_with_bands(8)), folder="broad")
    assert "void" not in str(open_data(broad).notes)
    names = "names: [field, meadow]\n"
    told = refusal(make_set(dict.fromkeys("ab", fields_with_bands(2)), yaml=names, folder="told"))
    assert "2 lies in nearly every mask as a thin band between others, as void does" in told.fix


def test_an_evaluation_speaks_of_no_void(make_set):
    root = make_set(dict.fromkeys("ab", fields_with_bands(2)))
    error = refusal(root, num_classes=2, of_model=True)
    assert "pixels hold label 2, which is none of the 2 classes (0 to 1)" in error.what
    left = (fields_with_bands(2) != 2).mean()
    assert error.fix == (
        f"Say which class of the model each is, or ignore, which would leave {left:.0%} of the "
        "pixels: --label-mapping '{2: ignore}', or write "
        f"into {root / 'data.yaml'}: label_mapping: {{2: ignore}}"
    )


def test_a_number_of_classes_that_contradicts_what_is_named_or_read_is_to_be_left_out(make_set):
    root = make_set({"a": plane(0, 1), "b": plane(1, 0)}, yaml="names: [sea, land]\n")
    error = refusal(root, num_classes=3)
    assert error.what == "2 classes are named (sea, land), and 3 are wanted."
    assert error.fix.startswith("Leave out --num-classes. Or declare what each value means: --lab")
    error = refusal(root, num_classes=3, of_model=True)
    assert error.fix.startswith("Declare what each value means: --label-mapping")


def test_trimaps_scored_by_a_model_of_two_classes_are_told_with_their_mapping(make_set):
    root = make_set({"a": plane(1, 2, 3), "b": plane(2, 1, 3)})
    error = refusal(root, num_classes=2, of_model=True)
    assert "trimaps of Oxford-IIIT Pet: --label-mapping '{1: 1, 2: 0, 3: ignore}'" in error.fix


def test_ignore_index_none_makes_every_value_a_class(make_set):
    root = make_set({"a": plane(0, 1, 255), "b": plane(0, 1)})
    assert refusal(root, ignore_index=None).code == "SK-D007"
    assert open_data(root).ignore_index == 255


def test_a_range_maps_many_values(make_set):
    yaml = 'label_mapping: {"1-65535": 1}\n'
    data = open_data(make_set({"a": blobs(5), "b": blobs(7)}, yaml=yaml))
    assert np.array_equal(data.split("all")[1].mask, blobs(7) > 0)


def test_a_mask_changed_after_opening_is_named(make_set):
    root = make_set({"a": plane(0, 1), "b": plane(0, 1)})
    dataset = open_data(root).split("all")
    Image.fromarray(plane(0, 7)).save(root / "masks" / "b.png")
    with pytest.raises(DataError, match=r"SK-D012: .*b\.png holds the value 7"):
        dataset[1]


def test_fractions_are_no_labels(make_set):
    root = make_set({"a": plane(0, 1), "b": plane(0, 1)})
    for name in "ab":
        (root / "masks" / f"{name}.png").unlink()
        Image.fromarray(plane(0, 1).astype(np.float32) / 2).save(root / "masks" / f"{name}.tif")
    assert "holds fractions such as 0.5" in refusal(root).what


def test_varying_alpha_in_a_mask_is_refused_and_constant_alpha_dropped(tmp_path):
    rgba = np.dstack([colours((0, 0, 0), (200, 0, 0)), np.full((SIDE, SIDE), 255, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert set(np.unique(read_values(tmp_path / "a.png"))) == {0, pack((200, 0, 0))}
    rgba[0, 0, 3] = 9
    Image.fromarray(rgba).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="alpha channel that varies"):
        read_values(tmp_path / "a.png")


def test_colours_pack_and_unpack():
    assert pack((1, 2, 3)) == 0x010203
    assert unpack(pack((224, 7, 192))) == (224, 7, 192)


def test_voc_colours_are_the_published_ones():
    # From the development kit: aeroplane, person, tvmonitor, border.
    assert [voc_colour(i) for i in (1, 15, 20, 255)] == [
        (128, 0, 0),
        (192, 128, 128),
        (0, 64, 128),
        (224, 224, 192),
    ]


def test_default_colours_do_not_repeat_and_those_of_twenty_classes_are_told_apart():
    assert len(set(default_palette(150))) == 150
    twenty = np.array(default_palette(20), float)
    apart = np.linalg.norm(twenty[:, None] - twenty[None], axis=2)
    assert apart[~np.eye(20, dtype=bool)].min() >= 60


def test_nearly_black_is_the_background_whichever_class_that_is():
    dark, orange, *_ = default_palette(3)
    assert dark_for_background(default_palette(3), 2)[::2] == (default_palette(3)[2], dark)
    assert dark_for_background(default_palette(3), 0) == default_palette(3)
    assert dark_for_background((orange, dark), 1) == (orange, dark)


def test_white_beside_black_is_not_ignored_unasked_whatever_is_declared(make_set):
    square_HW = np.pad(np.full((20, 30), 255, np.uint8), 20)
    asked = refusal(make_set(dict.fromkeys("ab", square_HW)), num_classes=2, ignore_index=1)
    assert asked.fix.startswith("If it is the foreground: leave out --ignore-index 1.\n")
    three = refusal(make_set(dict.fromkeys("ab", square_HW), folder="three", yaml="nc: 3\n"))
    assert three.fix.startswith("If it is the foreground: --label-mapping '{255: 1}'")
    assert "--ignore-index 255" in three.fix and "256" not in three.fix
