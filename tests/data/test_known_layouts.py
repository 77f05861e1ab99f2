"""Folders of other tools and challenges, made small: read without a line of configuration."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.data.conversion import convert
from segkit.data.masks.encoding_faults import CITYSCAPES_IDS
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import DataError

MASK = np.tri(32, dtype=np.uint8)


def write(path: Path, array: np.ndarray | None = None) -> None:
    """An image file; a random picture of its own where no array is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if array is None:
        rng = np.random.default_rng(sum(map(ord, str(path.name))))
        array = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(array).save(path)


def ids(data: object, split: str) -> list[str]:
    dataset = data.split(split)
    return [dataset[i].id for i in range(len(dataset))]


def test_mmsegmentation_folders(tmp_path):
    for split, name in (("train", "a"), ("train", "b"), ("val", "c")):
        write(tmp_path / "img_dir" / split / f"{name}.png")
        write(tmp_path / "ann_dir" / split / f"{name}.png", MASK)
    data = open_data(tmp_path)
    assert (ids(data, "train"), ids(data, "val")) == (["a", "b"], ["c"])


def test_milesial_folders_with_carvanas_suffix(tmp_path):
    for name in "abc":
        write(tmp_path / "imgs" / f"{name}.png")
        write(tmp_path / "masks" / f"{name}_mask.gif", MASK * 255)
    with pytest.raises(DataError) as error:
        open_data(tmp_path)
    assert "`mask_suffix: _mask`" in error.value.fix
    (tmp_path / "data.yaml").write_text("mask_suffix: _mask\n")
    assert len(open_data(tmp_path).split("all")) == 3


def test_voc_with_its_lists_leaves_out_images_without_a_mask(tmp_path):
    for name in "abcd":
        write(tmp_path / "JPEGImages" / f"{name}.jpg")
    for name in "abc":
        write(tmp_path / "SegmentationClass" / f"{name}.png", MASK)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("c\n")
    data = open_data(tmp_path)
    assert (ids(data, "train"), ids(data, "val")) == (["a", "b"], ["c"])
    assert "PASCAL VOC, 1 images without a mask left out, split by" in data.notes[1]


@pytest.mark.parametrize("paletted", [False, True])
def test_cvat_colours_are_read_by_its_labelmap(tmp_path, paletted):
    colours = np.array([[0, 0, 0], [250, 50, 83], [51, 221, 255]], np.uint8)
    labels = MASK + np.triu(np.ones((32, 32), np.uint8), 20) * 2
    for name in "abc":
        write(tmp_path / "JPEGImages" / f"{name}.png")
        if paletted:
            # The indices of the file are in another order than the classes of the label map.
            order = np.array([2, 0, 1], np.uint8)
            image = Image.fromarray(order[labels])
            image.putpalette(colours[[1, 2, 0]].ravel().tolist())
            (tmp_path / "SegmentationClass").mkdir(exist_ok=True)
            image.save(tmp_path / "SegmentationClass" / f"{name}.png")
        else:
            write(tmp_path / "SegmentationClass" / f"{name}.png", colours[labels])
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:250,50,83::\nroad:51,221,255::\n"
    )
    data = open_data(tmp_path)
    assert data.classes == ("background", "car", "road")
    assert np.array_equal(data.split("all")[0].mask, labels)
    assert data.palette[1] == (250, 50, 83)


def test_a_wrong_labelmap_is_told_by_line(tmp_path):
    write(tmp_path / "JPEGImages" / "a.png")
    write(tmp_path / "SegmentationClass" / "a.png", MASK)
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\ncar:250,50::\n")
    with pytest.raises(DataError, match=r"labelmap\.txt:2 is no class: car:250,50::"):
        open_data(tmp_path)


@pytest.mark.parametrize(
    "labels", [{"background": 0, "cell": 1, "ignore": 2}, {"0": "background", "1": "cell"}]
)
def test_nnunet_takes_names_and_ignored_label_from_dataset_json(tmp_path, labels):
    ignored = "ignore" in labels
    for name in "abc":
        write(tmp_path / "imagesTr" / f"{name}_0000.png")
        mask = MASK.copy()
        mask[0] = 2 if ignored else 0
        write(tmp_path / "labelsTr" / f"{name}.png", mask)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    data = open_data(tmp_path)
    assert data.classes == ("background", "cell")
    assert data.ignore_index == (2 if ignored else None)
    assert ids(data, "all") == ["a", "b", "c"]


def channel_files(root: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """imagesTr/ with a grey file of noise a name, labelsTr/a.png and b.png."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 256, (32, 40), np.uint8) for name in names}
    for name, array in arrays.items():
        write(root / "imagesTr" / f"{name}.png", array)
    for case in ("a", "b"):
        write(root / "labelsTr" / f"{case}.png", np.tri(32, 40, dtype=np.uint8))
    return arrays


@pytest.mark.parametrize("cache", ["off", "on"])
def test_nnunet_files_of_one_channel_each_become_one_image(tmp_path, cache):
    arrays = channel_files(tmp_path, ("a_0000", "a_0001", "b_0000", "b_0001"))
    data = open_data(tmp_path, DataOptions(cache=cache))
    assert data.in_channels == 2
    assert "Images: 2 channels, a file each." in data.notes
    for _ in range(2):
        for case, sample in zip("ab", map(data.split("all").__getitem__, range(2)), strict=True):
            expected = np.stack([arrays[f"{case}_0000"], arrays[f"{case}_0001"]], axis=2)
            assert sample.id == case and np.array_equal(sample.image, expected)


@pytest.mark.parametrize("channels", [2, 3, 4, 6])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_channel_files_convert_to_one_tiff_with_the_same_pixels(tmp_path, channels, depth):
    source, out = tmp_path / "nnunet", tmp_path / "ours"
    names = [f"{case}_{number:04}" for case in "ab" for number in range(channels)]
    for name, array in channel_files(source, tuple(names)).items():
        write(source / "imagesTr" / f"{name}.png", array.astype(depth))
    convert(source, out, DataOptions())
    before, after = open_data(source), open_data(out)
    assert after.in_channels == channels and not list(out.rglob("images/**/*.png"))
    assert ids(before, "all") == ids(after, "all") == ["a", "b"]
    for index in range(2):
        one, other = before.split("all")[index], after.split("all")[index]
        assert np.array_equal(one.image, other.image) and one.image.dtype == other.image.dtype
        assert np.array_equal(one.mask, other.mask)


def test_a_changed_channel_file_is_read_anew(tmp_path):
    channel_files(tmp_path, ("a_0000", "a_0001", "b_0000", "b_0001"))
    dataset = open_data(tmp_path, DataOptions(cache="on")).split("all")
    assert not (dataset[0].image[:, :, 1] == 9).all()
    write(tmp_path / "imagesTr" / "a_0001.png", np.full((32, 40), 9, np.uint8))
    assert (dataset[0].image[:, :, 1] == 9).all()


def test_nnunet_cases_with_other_channels_than_the_rest_are_named(tmp_path):
    channel_files(tmp_path, ("a_0000", "a_0001", "b_0000"))
    with pytest.raises(DataError, match="holds channels 0000 of b, and 0000, 0001 of others"):
        open_data(tmp_path)


def test_nnunet_channels_of_different_sizes_are_refused(tmp_path):
    channel_files(tmp_path, ("a_0000", "a_0001", "b_0000", "b_0001"))
    write(tmp_path / "imagesTr" / "b_0001.png", np.zeros((32, 41), np.uint8))
    with pytest.raises(DataError, match=r"b_0001\.png and b_0000\.png, channels of one image"):
        open_data(tmp_path)


def test_channel_files_cannot_be_asked_for_as_another_number(tmp_path):
    channel_files(tmp_path, ("a_0000", "a_0001", "b_0000", "b_0001"))
    with pytest.raises(DataError, match="each image is 2 files") as caught:
        open_data(tmp_path, DataOptions(in_channels=3))
    assert caught.value.fix == "Files of one grey channel each are read, as 2 channels."


def two_cells() -> np.ndarray:
    mask = np.zeros((32, 32), np.uint16)
    mask[4:14, 4:14], mask[4:14, 14:24] = 1, 2
    return mask


def test_cell_tracking_sequences_pair_by_frame_number(tmp_path):
    for sequence in ("01", "02"):
        for frame in range(4):
            write(tmp_path / sequence / f"t{frame:03d}.tif")
        for frame in (0, 2):
            write(tmp_path / f"{sequence}_GT" / "SEG" / f"man_seg{frame:03d}.tif", two_cells())
    data = open_data(tmp_path, DataOptions(instances="foreground"))
    assert ids(data, "all") == ["01/000", "01/002", "02/000", "02/002"]
    assert "4 frames without a mask left out." in data.notes[1]
    assert data.split("all")[0].instances.max() == 2


def test_touching_objects_are_parted_by_their_boundary(tmp_path):
    for frame in range(2):
        write(tmp_path / "01" / f"t{frame:03d}.tif")
        write(tmp_path / "01_GT" / "SEG" / f"man_seg{frame:03d}.tif", two_cells())
    data = open_data(tmp_path, DataOptions(instances="boundary"))
    sample = data.split("all")[0]
    assert data.classes == ("background", "foreground", "boundary")
    assert (sample.mask == 1).sum() == 2 * 8 * 8
    assert (sample.mask == 2).sum() == 2 * (100 - 64)
    assert np.array_equal(sample.instances, two_cells())


@pytest.mark.parametrize("kind", ["labelTrainIds", "labelIds"])
def test_cityscapes_train_ids_are_read_and_label_ids_get_their_mapping(tmp_path, kind):
    for split, name in (("train", "aachen_000"), ("train", "aachen_001"), ("val", "ulm_000")):
        city = name.split("_")[0]
        write(tmp_path / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
        values = np.array([0, 1, 18, 255] if kind == "labelTrainIds" else [0, 7, 8, 33], np.uint8)
        path = tmp_path / "gtFine" / split / city / f"{name}_gtFine_{kind}.png"
        write(path, values.repeat(8)[:, None].repeat(32, 1))
    if kind == "labelTrainIds":
        data = open_data(tmp_path, DataOptions(num_classes=19))
        assert (len(data.classes), data.ignore_index) == (19, 255)
        return
    with pytest.raises(DataError, match="masks are Cityscapes' labelIds") as error:
        open_data(tmp_path)
    line = error.value.fix.partition("data.yaml: ")[2]
    (tmp_path / "data.yaml").write_text(line + "\n")
    data = open_data(tmp_path)
    assert (len(data.classes), data.ignore_index) == (len(CITYSCAPES_IDS), 255)
    assert np.unique(data.split("val")[0].mask).tolist() == [0, 1, 18, 255]


def test_notebook_checkpoints_are_not_taken_for_images(make_set):
    root = make_set(dict.fromkeys("ab", MASK))
    write(root / "images" / ".ipynb_checkpoints" / "a-checkpoint.png")
    assert ids(open_data(root), "all") == ["a", "b"]
