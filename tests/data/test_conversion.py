"""Conversion: any layout, COCO and YOLO become our folders, and what is read back is the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as PolygonPath
from PIL import Image

from segkit.data.conversion import convert
from segkit.data.layouts.shapes import fill_polygon, from_run_lengths, polygon_area, unpack_lengths
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import DataError, UsageError

MASK = np.tri(32, dtype=np.uint8)


def write_image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(array).save(path)


def square(left: float, top: float, side: float) -> list[float]:
    return [left, top, left + side, top, left + side, top + side, left, top + side]


def packed(lengths: list[int]) -> str:
    """COCO's text form, written the other way round: by base-32 digits of two's complement."""
    text = ""
    for i, length in enumerate(lengths):
        number = length - lengths[i - 2] if i > 2 else length
        more = True
        while more:
            digit = number % 32
            number //= 32
            more = number != (-1 if digit & 16 else 0)
            text += chr(48 + digit + 32 * more)
    return text


def test_run_lengths_run_down_the_columns():
    inside_HW = from_run_lengths([1, 2, 3], height=3, width=2)
    assert inside_HW.astype(int).tolist() == [[0, 0], [1, 0], [1, 0]]
    with pytest.raises(ValueError, match="run lengths of 5 pixels, but 6 in the image"):
        from_run_lengths([1, 2, 2], height=3, width=2)


def test_packed_run_lengths_come_back():
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 4, 9, 50):
        lengths = rng.integers(0, 5000, size).tolist()
        assert unpack_lengths(packed(lengths)) == lengths


def test_a_polygon_covers_the_pixels_whose_middles_it_holds():
    mask_HW = np.zeros((20, 30), np.uint8)
    fill_polygon(mask_HW, square(3, 4, 10), 7)
    # A pixel reaches from its number to the next: ten of them.
    assert mask_HW[4:14, 3:13].min() == 7
    assert (mask_HW == 7).sum() == 100
    assert polygon_area(square(3, 4, 10)) == 100


def test_polygons_of_any_form_are_filled_as_matplotlib_fills_them():
    y_HW, x_HW = np.mgrid[0:20, 0:30] + 0.5
    middles_N2 = np.stack([x_HW.ravel(), y_HW.ravel()], axis=1)
    rng = np.random.default_rng(1)
    for _ in range(20):
        # Around a middle, by angle: simple, not convex, partly beyond the mask.
        angles, reach = np.sort(rng.uniform(0, 2 * np.pi, 9)), rng.uniform(2, 16, 9)
        corners_N2 = np.stack([15 + reach * np.cos(angles), 10 + reach * np.sin(angles)], axis=1)
        mask_HW = np.zeros((20, 30), np.uint8)
        fill_polygon(mask_HW, corners_N2.ravel().tolist(), 1)
        inside_HW = PolygonPath(corners_N2).contains_points(middles_N2).reshape(20, 30)
        assert np.array_equal(mask_HW, inside_HW)


def make_coco(root: Path) -> Path:
    for split, number in (("train", 1), ("train", 2), ("val", 3)):
        write_image(root / f"{split}2017" / f"{number}.jpg", number)
    run = np.zeros((20, 30), bool)
    run[5:9, 5:9] = True
    flat = run.T.ravel()
    edges = np.flatnonzero(np.diff(flat.astype(int))) + 1
    lengths = np.diff([0, *edges.tolist(), flat.size]).tolist()
    for split, numbers in (("train", (1, 2)), ("val", (3,))):
        annotations = []
        for number in numbers:
            shapes = [
                (30, [square(2, 2, 14)]),
                (10, {"counts": packed(lengths), "size": [20, 30]}),
            ]
            annotations += [
                {"image_id": number, "category_id": category, "segmentation": shape}
                for category, shape in shapes
            ]
        content = {
            "images": [{"id": n, "file_name": f"{n}.jpg"} for n in numbers],
            "categories": [{"id": 30, "name": "road"}, {"id": 10, "name": "car"}],
            "annotations": annotations,
        }
        path = root / "annotations" / f"instances_{split}2017.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return root


def test_coco_becomes_ours_with_the_smaller_object_on_top(tmp_path):
    written = convert(make_coco(tmp_path / "coco"), tmp_path / "ours", DataOptions())
    assert (written.kind, written.splits) == ("COCO", {"train": 2, "val": 1})
    data = open_data(tmp_path / "ours")
    assert data.classes == ("background", "car", "road")
    mask_HW = data.split("val")[0].mask
    assert (mask_HW[5:9, 5:9] == 1).all()
    assert (mask_HW == 1).sum() == 16
    assert mask_HW[3, 3] == 2
    assert mask_HW[19, 29] == 0


def test_an_image_outside_the_folder_is_never_taken(tmp_path):
    root = make_coco(tmp_path / "coco")
    write_image(tmp_path / "secret.jpg")
    file = root / "annotations" / "instances_val2017.json"
    file.write_text(file.read_text().replace('"3.jpg"', '"../../secret.jpg"'))
    with pytest.raises(
        DataError, match=r"names \.\./\.\./secret\.jpg, which leads out of the data set"
    ):
        convert(root, tmp_path / "ours", DataOptions())


def make_yolo(root: Path, line: str = "1 0.1 0.1 0.5 0.1 0.5 0.6 0.1 0.6") -> Path:
    for split, names in (("train", "ab"), ("val", "c")):
        for name in names:
            write_image(root / "images" / split / f"{name}.png", ord(name))
            label = root / "labels" / split / f"{name}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(line + "\n")
    (root / "data.yaml").write_text(
        "path: .\ntrain: images/train\nval: images/val\nnc: 2\nnames: [cat, dog]\n"
    )
    return root


def test_yolo_polygons_become_ours_and_are_proposed_where_masks_are_missing(tmp_path):
    root = make_yolo(tmp_path / "yolo")
    with pytest.raises(DataError) as error:
        open_data(root)
    assert error.value.fix == f"segkit data convert {root} yolo-masks"
    assert convert(root, tmp_path / "ours", DataOptions()).kind == "YOLO"
    data = open_data(tmp_path / "ours")
    assert data.classes == ("background", "cat", "dog")
    assert (data.split("val")[0].mask[3:11, 4:14] == 2).all()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 0.5 0.5 0.2 0.2", "a.txt:1 holds 4 coordinates: a box"),
        ("7 0 0 1 0 1 1", r"a.txt:1 says class 7, and 2 are named \(from 0\)\."),
        ("cat 0 0 1 0 1 1", "a.txt:1 holds no numbers"),
    ],
)
def test_wrong_yolo_lines_are_told_and_nothing_is_left_behind(tmp_path, line, said):
    root = make_yolo(tmp_path / "yolo", line)
    with pytest.raises(DataError, match=said):
        convert(root, tmp_path / "ours", DataOptions())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["yolo"]


def test_classes_of_annotations_that_are_not_named_are_named_by_the_option_told(tmp_path):
    root = make_yolo(tmp_path / "yolo", "3 0 0 1 0 1 1")
    with pytest.raises(DataError) as caught:
        convert(root, tmp_path / "ours", DataOptions())
    said = """names: ["cat", "dog", "class 2", "class 3"]"""
    assert f"--declare '{said}', or `{said}` in {root / 'data.yaml'}." in caught.value.fix
    convert(root, tmp_path / "ours", DataOptions(declare=said))
    assert len(open_data(tmp_path / "ours").classes) == 5


def test_what_is_read_back_is_what_was_read(make_set, tmp_path):
    values = np.repeat(np.array([0, 50, 100, 255], np.uint8), 8)[:, None].repeat(32, 1)
    yaml = "label_mapping: {0: 0, 50: 1, 100: 2, 255: ignore}\nnames: [sea, land, ice]\n"
    root = make_set({f"{s}/{n}": values for s in ("train", "val") for n in "ab"}, yaml=yaml)
    convert(root, tmp_path / "ours", DataOptions())
    before, after = open_data(root), open_data(tmp_path / "ours")
    assert after.classes == before.classes
    assert after.ignore_index == before.ignore_index == 255
    for split in ("train", "val"):
        for i in range(2):
            ours, theirs = after.split(split)[i], before.split(split)[i]
            assert np.array_equal(ours.image, theirs.image)
            assert np.array_equal(ours.mask, theirs.mask)


def test_images_are_turned_where_their_mask_was_drawn_on_the_turned_picture(make_set, tmp_path):
    wide = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    root = make_set({n: np.tri(30, 20, dtype=np.uint8) for n in "abc"})
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(wide).save(root / "images" / "a.png", exif=exif)
    convert(root, tmp_path / "ours", DataOptions())
    twin = {s.id: s for s in map(open_data(tmp_path / "ours").split("all").__getitem__, range(3))}
    assert np.array_equal(twin["a"].image, open_data(root).split("all")[0].image)


def test_an_existing_folder_and_the_data_itself_are_refused(make_set, tmp_path):
    root = make_set(dict.fromkeys("ab", MASK))
    with pytest.raises(UsageError, match="exists"):
        convert(root, root, DataOptions())
    with pytest.raises(UsageError, match="lies in the data folder"):
        convert(root, root / "ours", DataOptions())


def moved(root: Path, how: str) -> Path:
    """A COCO set as other tools leave it."""
    if how == "imgs":
        (root / "val2017").rename(root / "imgs")
        (root / "train2017").rename(root / "imgs" / "train")
    if how == "pictures":
        (root / "deep").mkdir()
        for part in ("train2017", "val2017"):
            (root / part).rename(root / "deep" / part)
        for file in (root / "annotations").glob("*.json"):
            text = file.read_text().replace('"file_name": "', '"file_name": "C:\\\\me\\\\deep\\\\')
            file.write_text(text)
    if how == "top":
        for file in (root / "annotations").glob("*.json"):
            file.rename(root / file.name)
        (root / "annotations").rmdir()
    if how == "more":
        (root / "annotations" / "captions_train2017.json").write_text('{"images": []}')
        (root / "annotations" / "person_keypoints_train2017.json").write_text('{"images": []}')
    return root


@pytest.mark.parametrize("how", ["as they are", "imgs", "pictures", "top", "more"])
def test_coco_images_are_found_wherever_their_names_lead_below_the_folder(tmp_path, how):
    root = moved(make_coco(tmp_path / "coco"), how)
    with pytest.raises(DataError) as error:
        open_data(root)
    assert error.value.what == f"{root} holds annotations of COCO, which are no masks yet."
    assert error.value.fix == f"segkit data convert {root} coco-masks"
    assert convert(root, tmp_path / "ours", DataOptions()).splits == {"train": 2, "val": 1}
    assert len(open_data(tmp_path / "ours").split("all")) == 3


def test_two_images_that_a_name_may_mean_are_no_guess(tmp_path):
    root = make_coco(tmp_path / "coco")
    (root / "val2017").rename(root / "here")
    write_image(root / "there" / "3.jpg")
    with pytest.raises(DataError, match=r"3.jpg, which .*here/3.jpg and .*there/3.jpg may be"):
        convert(root, tmp_path / "ours", DataOptions())


def test_yolo_folders_by_split_with_other_tools_keys_become_ours(tmp_path):
    root = make_yolo(tmp_path / "yolo")
    for split, name in (("train", "train"), ("val", "valid")):
        (root / name).mkdir()
        for part in ("images", "labels"):
            (root / part / split).rename(root / name / part)
    text = "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: [cat, dog]\n"
    (root / "data.yaml").write_text(text + "roboflow:\n  workspace: me\n")
    with pytest.raises(DataError, match=r"holds annotations of YOLO, which are no masks yet"):
        open_data(root / "data.yaml")
    assert convert(root, tmp_path / "ours", DataOptions()).splits == {"train": 2, "val": 1}
    assert open_data(tmp_path / "ours").classes == ("background", "cat", "dog")
