"""Folders: which are understood, how names pair, how splits are drawn, and that none is touched."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.data.files.masks import scan_mask
from segkit.data.files.pairing import NONE_DRAWN
from segkit.data.loader import EvaluationLoader, TrainingLoader
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import SegkitError, UsageError

MASK = np.tri(32, dtype=np.uint8)


def refusal(root: Path, **options: object) -> SegkitError:
    with pytest.raises(SegkitError) as error:
        open_data(root, DataOptions(**options))
    return error.value


def ids(data: object, split: str) -> list[str]:
    dataset = data.split(split)
    return [dataset[i].id for i in range(len(dataset))]


def test_folders_by_split_are_taken_as_they_are(make_set):
    data = open_data(make_set({f"{s}/{n}": MASK for s in ("train", "val", "test") for n in "ab"}))
    assert data.splits == ("train", "val", "test")
    assert [ids(data, split) for split in data.splits] == [["a", "b"]] * 3


def test_lists_name_the_splits_with_or_without_suffix(make_set):
    root = make_set(dict.fromkeys("abcd", MASK))
    (root / "train.txt").write_text("a\nc.png\n# a remark\n\n")
    (root / "val.txt").write_text("d\n")
    data = open_data(root)
    assert (ids(data, "train"), ids(data, "val")) == (["a", "c"], ["d"])


def test_a_list_that_names_what_is_not_there_is_refused(make_set):
    root = make_set(dict.fromkeys("ab", MASK))
    (root / "train.txt").write_text("a\n")
    (root / "val.txt").write_text("b\nz\n")
    error = refusal(root)
    assert error.code == "SK-D002"
    assert "val.txt names 1 images that do not exist: z." in error.what


def test_without_lists_a_seed_draws_the_split_and_it_is_said(make_set):
    root = make_set({f"{i:02d}": MASK for i in range(10)})
    first, again, other = (open_data(root, DataOptions(seed=seed)) for seed in (0, 0, 1))
    assert ids(first, "val") == ids(again, "val") != ids(other, "val")
    assert (len(first.split("train")), len(first.split("val"))) == (8, 2)
    assert set(ids(first, "train")) | set(ids(first, "val")) == set(ids(first, "all"))
    assert "No split is given: 20% is drawn for validation with seed 0." in first.notes


def test_three_images_are_enough_and_one_is_not(make_set):
    data = open_data(make_set(dict.fromkeys("abc", MASK)))
    assert (len(data.split("train")), len(data.split("val"))) == (2, 1)
    alone = open_data(make_set({"a": MASK}, folder="one"))
    assert alone.splits == ("all",)
    assert "1 pair is too few to train and validate: no split is made." in alone.notes


def test_with_no_share_to_validate_every_image_trains_and_it_is_said(make_set):
    data = open_data(make_set(dict.fromkeys("abc", MASK)), DataOptions(val_share=0))
    assert ids(data, "train") == ["a", "b", "c"] and "val" not in data.splits
    assert NONE_DRAWN in data.notes
    alone = open_data(make_set({"a": MASK}, folder="one"), DataOptions(val_share=0))
    assert ids(alone, "train") == ["a"]
    parts = make_set({"train/a": MASK, "val/b": MASK}, folder="parts")
    assert ids(open_data(parts, DataOptions(val_share=0)), "val") == ["b"]


def test_an_unknown_split_is_refused_with_the_known_ones(make_set):
    data = open_data(make_set(dict.fromkeys("ab", MASK)))
    with pytest.raises(UsageError, match="no split 'vall'") as error:
        data.split("vall")
    assert error.value.fix == "Did you mean 'val' or 'all'? It has train, val, all."


def test_unpaired_files_are_listed_both_ways(make_set):
    root = make_set(dict.fromkeys("abc", MASK))
    (root / "masks" / "a.png").unlink()
    (root / "images" / "c.png").unlink()
    error = refusal(root)
    assert error.code == "SK-D002"
    assert f"1 of 2 images in {root / 'images'} have no mask: a." in error.what
    assert f"1 masks in {root / 'masks'} have no image: c." in error.what


def test_a_suffix_that_pairs_them_is_proposed_and_works(make_set):
    root = make_set({f"img_{i}": MASK for i in range(3)})
    for path in (root / "masks").iterdir():
        path.rename(path.with_name(path.stem + "_mask.png"))
    error = refusal(root)
    assert f"--declare 'mask_suffix: _mask', or `mask_suffix: _mask` in {root}/data" in error.fix
    declared = open_data(root, DataOptions(declare="mask_suffix: _mask"))
    assert ids(declared, "all") == ["img_0", "img_1", "img_2"]
    (root / "data.yaml").write_text("mask_suffix: _mask\n")
    assert ids(open_data(root), "all") == ["img_0", "img_1", "img_2"]


def test_two_files_of_one_name_are_never_chosen_between(make_set):
    root = make_set(dict.fromkeys("ab", MASK))
    Image.fromarray(MASK).save(root / "masks" / "a.tif")
    error = refusal(root)
    assert error.code == "SK-D002"
    assert "1 masks exist twice under one name" in error.what


def test_a_size_mismatch_is_told_with_both_sizes_and_the_ratio(make_set):
    image = np.zeros((64, 64, 3), np.uint8)
    error = refusal(make_set(dict.fromkeys("ab", MASK), dict.fromkeys("ab", image)))
    assert error.code == "SK-D003"
    assert "masks/a.png is 32 x 32, its image a.png is 64 x 64 (height x width)." in error.what
    assert "masks/b.png is 32 x 32" in error.what
    assert "All differ alike, by 2 x 2" in error.fix


def test_system_files_and_strangers_are_passed_over(make_set):
    root = make_set(dict.fromkeys("ab", MASK))
    for name in (".DS_Store", "._a.png", "Thumbs.db", "notes.txt"):
        (root / "images" / name).write_text("x")
    (root / "images" / "c.png").mkdir()
    assert ids(open_data(root), "all") == ["a", "b"]


def test_names_in_any_language_and_nested_folders_work(make_set):
    names = ["zürich/001", "zürich/b c", "東京/001", "😀"]
    assert ids(open_data(make_set(dict.fromkeys(names, MASK))), "all") == sorted(names)


def test_every_bad_file_is_told_not_only_the_first(make_set):
    root = make_set(dict.fromkeys("abcd", MASK))
    (root / "images" / "a.png").write_bytes(b"")
    (root / "images" / "b.png").write_bytes(b"<html>404</html>")
    (root / "masks" / "c.png").write_bytes((root / "masks" / "c.png").read_bytes()[:60])
    what = refusal(root).what
    for told in (
        "images/a.png is empty",
        "images/b.png looks like HTML",
        "masks/c.png is cut short",
    ):
        assert told in what


def test_a_folder_without_images_says_what_is_there_and_what_is_looked_for(tmp_path):
    (tmp_path / "photos").mkdir()
    error = refusal(tmp_path)
    assert error.code == "SK-D001"
    assert "no layout that segkit knows, only photos/" in error.what
    assert "images/ and masks/" in error.fix
    assert "there is no folder" in refusal(tmp_path / "gone").what


def with_orientation(root: Path, name: str, orientation: int, pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(root / "images" / f"{name}.png", exif=exif)


def test_exif_is_applied_where_that_makes_the_mask_fit(make_set):
    wide, tall = np.zeros((32, 48, 3), np.uint8), np.tri(48, 32, dtype=np.uint8)
    wide[0, 0] = 200
    root = make_set(dict.fromkeys("ab", tall))
    with_orientation(root, "a", 6, wide)
    sample = open_data(root).split("all")[0]
    assert sample.image.shape == (48, 32, 3)
    assert sample.image[0, -1, 0] == 200


def test_exif_is_left_alone_where_the_mask_fits_the_stored_picture(make_set):
    wide = np.zeros((32, 48, 3), np.uint8)
    root = make_set({n: np.tri(32, 48, dtype=np.uint8) for n in "ab"})
    with_orientation(root, "a", 6, wide)
    assert open_data(root).split("all")[0].image.shape == (32, 48, 3)


def test_exif_on_a_square_picture_is_asked_about(make_set):
    root = make_set(dict.fromkeys("ab", MASK))
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[0, 0] = 200
    with_orientation(root, "a", 3, picture)
    error = refusal(root)
    assert error.code == "SK-D013"
    assert "--declare 'exif: apply', or `exif: apply` in " in error.fix
    for answer, corner in (("apply", (31, 31)), ("ignore", (0, 0))):
        (root / "data.yaml").write_text(f"exif: {answer}\n")
        assert open_data(root).split("all")[0].image[corner][0] == 200


def test_grey_images_give_one_channel_and_mixed_ones_three(make_set):
    grey, colour = np.zeros((32, 32), np.uint8), np.zeros((32, 32, 4), np.uint8)
    assert (
        open_data(make_set(dict.fromkeys("ab", MASK), dict.fromkeys("ab", grey))).in_channels == 1
    )
    data = open_data(make_set(dict.fromkeys("ab", MASK), {"a": grey, "b": colour}, folder="mixed"))
    assert data.in_channels == 3
    assert data.split("all")[1].image.shape == (32, 32, 3)
    note = "Images: 3 channels; alpha is dropped in 1 (files: 1 with 1, 1 with 4)."
    assert note in data.notes


def test_deep_images_are_scaled_by_what_the_camera_used(make_set):
    deep = np.full((32, 32), 3000, np.uint16)
    data = open_data(make_set(dict.fromkeys("ab", MASK), dict.fromkeys("ab", deep)))
    assert data.full_scale == 4095
    assert data.split("all")[0].image.dtype == np.uint16


def test_images_of_different_depth_are_refused(make_set):
    deep, flat = np.full((32, 32), 3000, np.uint16), np.zeros((32, 32), np.uint8)
    error = refusal(make_set(dict.fromkeys("ab", MASK), {"a": deep, "b": flat}))
    assert error.code == "SK-D011"
    assert "1 of uint16, 1 of uint8" in error.what


def test_the_training_crop_fits_the_images(make_set):
    sizes = {"a": (100, 300), "b": (130, 90), "c": (200, 400)}
    masks = {name: np.tri(*size, dtype=np.uint8) for name, size in sizes.items()}
    assert open_data(make_set(masks)).default_size == 96


def test_data_yaml_names_folders_and_classes(make_set):
    yaml = "path: .\ntrain: images/one\nval: images/two\nnames: {0: ground, 1: house}\n"
    data = open_data(make_set({f"{s}/{n}": MASK for s in ("one", "two") for n in "ab"}, yaml=yaml))
    assert data.splits == ("train", "val")
    assert data.classes == ("ground", "house")


@pytest.mark.parametrize(
    ("yaml", "said", "fix"),
    [
        ("naems: [a, b]", "unknown key 'naems'", "Did you mean 'names'?"),
        ("names: [a, a]", "names two classes 'a'", "own name"),
        ("ignore_index: '255'", "ignore_index: '255'", "whole number"),
        ("label_mapping: {x: 1}", "the stored value 'x'", "range"),
        ("label_mapping: {1: x}", "maps 1 to 'x'", '"ignore"'),
        ("names: [a, b]\npalette: {c: [0, 0, 0]}", "'c', which is not in names", "Names are a, b."),
        ("palette: {a: [0, 0, 300]}", "the colour [0, 0, 300]", "0 to 255"),
        ("train: images/none", "train: images/none, and there is no", "folder of images"),
        ("instances: all", "instances: 'all'", "foreground"),
        (
            "x: !!python/object/apply:os.system ['true']",
            "is no YAML that segkit reads",
            "Correct it.",
        ),
        ("- a", "holds no keys", "names"),
    ],
)
def test_a_wrong_data_yaml_is_told_by_key(make_set, yaml, said, fix):
    error = refusal(make_set(dict.fromkeys("ab", MASK), yaml=yaml))
    assert error.code == "SK-D009"
    assert said in error.what
    assert fix in error.fix


def fingerprint(root: Path) -> dict[str, tuple[str, int]]:
    """Content hash and modification time of everything below a folder."""
    found = {}
    for path in sorted(root.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        name = path.relative_to(root).as_posix()
        found[name] = (hashlib.sha256(content).hexdigest(), path.stat().st_mtime_ns)
    return found


def test_nothing_below_the_root_is_written(make_set):
    root = make_set({f"{i}": MASK for i in range(4)})
    before = fingerprint(root)
    data = open_data(root)
    list(TrainingLoader(data.split("train"), size=32, batch=2, seed=0).epoch(0))
    list(EvaluationLoader(data.split("val"), batch=2))
    assert fingerprint(root) == before


def test_the_fingerprint_would_notice_a_new_file(make_set):
    root = make_set({f"{i}": MASK for i in range(2)})
    before = fingerprint(root)
    (root / "cache.json").write_text("{}")
    assert fingerprint(root) != before


def test_opening_a_folder_imports_no_torch():
    program = (
        "import sys; from segkit.data.opening.open import open_data; open_data(None); "
        "print('torch' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "False"
    named = program.replace("open_data(None)", "import segkit.data.loader")
    told = subprocess.run([sys.executable, "-c", named], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "True"


def test_one_picture_in_two_splits_is_refused_unless_allowed(make_set):
    picture = np.random.default_rng(5).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    names = ("train/a", "val/b")
    root = make_set(dict.fromkeys(names, MASK), dict.fromkeys(names, picture))
    error = refusal(root)
    assert error.code == "SK-D019"
    assert "b.png (val) is the same picture as" in error.what
    assert "allow_leak: true" in error.fix
    (root / "data.yaml").write_text("allow_leak: true\n")
    assert "is the same picture as" in str(open_data(root).notes)


def test_facts_are_remembered_outside_the_data_and_forgotten_when_a_file_changes(
    make_set, own_cache, monkeypatch
):
    monkeypatch.setattr("segkit.data.files.facts.WORTH_KEEPING", 1)
    root = make_set(dict.fromkeys("abc", MASK))
    first = open_data(root)
    (remembered,) = own_cache.rglob("*.json")
    assert len(json.loads(remembered.read_text())["entries"]) == 6
    looks: list[Path] = []
    monkeypatch.setattr(
        "segkit.data.files.facts.scan_mask",
        lambda path, how: looks.append(path) or scan_mask(path, how),
    )
    assert open_data(root).notes == first.notes
    assert looks == []
    Image.fromarray(MASK * 50).save(root / "masks" / "b.png")
    assert "label_mapping" in refusal(root).fix
    assert [path.name for path in looks] == ["b.png"]


@pytest.mark.parametrize(
    "content", ["", "{", '{"version": 1}', '{"version": 1, "entries": {"a": 1}}']
)
def test_a_damaged_cache_is_no_cache(make_set, own_cache, monkeypatch, content):
    monkeypatch.setattr("segkit.data.files.facts.WORTH_KEEPING", 1)
    root = make_set(dict.fromkeys("abc", MASK))
    first = open_data(root)
    (remembered,) = own_cache.rglob("*.json")
    remembered.write_text(content)
    assert open_data(root).notes == first.notes
