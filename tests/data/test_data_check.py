"""`segkit data`: the check tells everything, says what trains, and never writes into the data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from segkit.cli.data_command import command
from segkit.cli.main import main
from segkit.data.checks.statistics import balanced_weights, measure
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import SegkitError

MASK = np.tri(32, dtype=np.uint8)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run("check", folder, ...) in a folder of its own: (exit status, output)."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)

    def invoke(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(command, [str(each) for each in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout

    return invoke


def test_a_good_set_is_ready_to_train(run, make_set):
    status, told = run("check", make_set(dict.fromkeys("abc", MASK)))
    assert status == 0
    assert "ready to train: 0 errors, 0 warnings." in told
    assert "3 images with masks: 2 train, 1 val." in told
    assert "    1  1      foreground   1,584      3" in told
    assert Path("check-set/check.json").is_file()
    with Image.open("check-set/sheet.png") as sheet:
        assert sheet.width > 3 * 32


def test_all_faults_are_told_at_once_grouped_by_kind(run, make_set):
    root = make_set(dict.fromkeys("abcdefgh", MASK))
    (root / "images" / "a.png").write_bytes(b"")
    (root / "images" / "b.png").write_bytes(b"<html>")
    (root / "masks" / "c.png").unlink()
    Image.fromarray(np.tri(16, dtype=np.uint8)).save(root / "masks" / "d.png")
    Image.fromarray(np.full((32, 32, 3), 7, np.uint8)).save(root / "images" / "e.png")
    status, told = run("check", root)
    assert status == 3
    for line in (
        "error SK-D002: Images and masks cannot be paired one to one.",
        "images/a.png is empty (0 bytes).",
        "images/b.png looks like HTML, not an image: probably a failed download.",
        "masks/d.png is 16 x 16, its image d.png is 32 x 32 (height x width).",
        "warning SK-D020: Images are of one colour all over.",
        "-> All differ alike, by 2 x 2: --resize-masks nearest, or `resize_masks: nearest` in ",
        "not ready to train: 4 errors, 1 warning.",
    ):
        assert line in told
    report = json.loads(Path("check-set/check.json").read_text())
    assert {group["code"] for group in report["findings"]} == {
        *("SK-D002", "SK-D003", "SK-D004", "SK-D006", "SK-D020")
    }


def test_twenty_of_many_faults_are_shown_and_all_are_in_the_file(run, make_set):
    root = make_set({f"{i:02d}": MASK for i in range(26)})
    for i in range(25):
        (root / "images" / f"{i:02d}.png").write_bytes(b"")
    status, told = run("check", root, "--out", "report")
    assert status == 3
    assert told.count("is empty (0 bytes)") == 20
    assert "… and 5 more, in check.json." in told
    (group,) = json.loads(Path("report/check.json").read_text())["findings"]
    assert (group["count"], len(group["findings"])) == (25, 25)


def test_json_is_printed_alone_and_writes_nothing(run, make_set):
    status, told = run("check", make_set(dict.fromkeys("abc", MASK)), "--json")
    report = json.loads(told)
    assert status == 0
    assert report["splits"] == {"train": 2, "val": 1}
    assert [row["pixels"] for row in report["classes"]] == [3 * 496, 3 * 528]
    assert not list(Path().iterdir())


def test_masks_that_cannot_be_understood_are_shown_by_value(run, make_set):
    quarters = np.kron(np.array([[0, 50], [100, 50]], np.uint8), np.ones((16, 16), np.uint8))
    masks = dict.fromkeys("ab", quarters)
    status, told = run("check", make_set(masks))
    assert status == 3
    assert "50 1,024 2" in " ".join(told.split())
    assert "-> If each is a class: --label-mapping '{0: 0, 50: 1, 100: 2}', or write into " in told


def test_options_settle_what_the_masks_mean(run, make_set):
    root = make_set({n: MASK * 2 + (np.arange(32) % 2).astype(np.uint8) for n in "ab"})
    assert "4 classes" in run("check", root)[1]
    assert "3 classes" in run("check", root, "--ignore-index", "3")[1]
    assert run("check", root, "--ignore-index", "three")[0] == 2


def test_what_a_split_lacks_is_a_warning(run, make_set):
    only = np.zeros((32, 32), np.uint8)
    status, told = run("check", make_set({"train/a": MASK, "train/b": MASK, "val/c": only}))
    assert status == 0
    assert "'foreground' has no pixels in val, but in train." in told


def test_a_report_is_never_written_into_the_data(run, make_set):
    root = make_set(dict.fromkeys("ab", MASK))
    with pytest.raises(SegkitError, match="lies in the data folder, where nothing is ever written"):
        run("check", root, "--out", root / "report")
    assert not (root / "report").exists()


def test_a_read_only_folder_can_be_checked(run, make_set):
    root = make_set(dict.fromkeys("ab", MASK))
    folders = [root, root / "images", root / "masks"]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert run("check", root)[0] == 0
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_the_preview_shows_each_sample_and_three_crops(run, make_set):
    status, told = run("preview", make_set(dict.fromkeys("abcd", MASK)), "--count", 2, "--size", 32)
    assert status == 0
    assert told.startswith("preview.png: each row is one sample")
    with Image.open("preview.png") as picture:
        assert picture.width >= 4 * 2 * 32


def test_statistics_agree_with_numpy_over_all_pixels(make_set):
    data = open_data(make_set(dict.fromkeys("abcd", MASK * 1)), DataOptions(ignore_index="auto"))
    dataset = data.split("all")
    every = np.concatenate([dataset[i].image.reshape(-1, 3) for i in range(4)]) / 255.0
    found = measure(data, "all")
    assert np.allclose(found.mean, every.mean(axis=0), rtol=1e-12)
    assert np.allclose(found.std, every.std(axis=0), rtol=1e-9)
    assert found.pixels == (4 * 496, 4 * 528)
    assert found.images == (4, 4)


def test_ignored_pixels_count_in_no_frequency(make_set):
    mask = np.repeat(np.array([0, 1, 1, 255], np.uint8), 8)[:, None].repeat(32, 1)
    found = measure(open_data(make_set(dict.fromkeys("ab", mask))), "all")
    assert found.frequencies == (1 / 3, 2 / 3)
    assert found.ignored == 2 * 8 * 32


def test_weights_balance_by_the_median_frequency(make_set):
    mask = np.repeat(np.array([0, 0, 0, 0, 0, 1, 1, 2], np.uint8), 4)[:, None].repeat(32, 1)
    found = measure(open_data(make_set(dict.fromkeys("ab", mask))), "all")
    assert np.allclose(balanced_weights(found), (2 / 5, 1, 2))


def test_the_line_that_stats_proposes_is_a_loss(run, make_set):
    told = run("stats", make_set(dict.fromkeys("abc", MASK)))[1]
    assert 'To weigh the classes by median frequency: --loss "ce(class_weights=[' in told


@pytest.mark.integration
def test_every_real_set_gets_its_verdict(run, real_data):
    ready = ["camvid", "drive", "dsb2018", "isbi2012", "m2nist", "pets_cat_dog"]
    ready.append("quirks/palette_png_void255")
    faulty = {
        "ctc_dic_hela": "--instances foreground",
        "ctc_phc_u373": "--instances foreground",
        "pets_sample": "label_mapping: {1: 1, 2: 0, 3: ignore}",
        "quirks/jpeg_mask": "binarize: 128",
        "quirks/onebit_and_stray_values": "binarize: 128",
        "quirks/tiff_lzw_mask16": "--instances foreground",
    }
    for name in ready:
        assert run("check", real_data / name, "--out", "report")[0] == 0, name
    told = run("check", real_data / "quirks/gif_mask", "--out", "report")[1]
    assert "there is 1 image with its mask" in told and "train: 1 error, 0" in told
    for name, fix in faulty.items():
        status, told = run("check", real_data / name, "--out", "report")
        assert (status, fix in told) == (3, True), name


def fingerprint(root: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of change of everything below a folder."""
    return {
        path.relative_to(root).as_posix(): (
            path.read_bytes() if path.is_file() else b"",
            path.stat().st_mtime_ns,
        )
        for path in sorted(root.rglob("*"))
    }


def test_no_command_writes_below_the_data(run, make_set, tmp_path):
    root = make_set(dict.fromkeys("abcd", MASK))
    before = fingerprint(root)
    for arguments in (("check",), ("check", "--json"), ("preview", "--count", 1), ("stats",)):
        command_name, *rest = arguments
        assert run(command_name, root, *rest)[0] == 0
    assert run("convert", root, tmp_path / "ours")[0] == 0
    assert fingerprint(root) == before
    assert (tmp_path / "ours" / "data.yaml").is_file()


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["test/a", "test/b"], "there are no training images: the splits are 2 test."),
        (["val/a", "test/b"], "there are no training images: the splits are 1 val, 1 test."),
        (["a"], "there is 1 image with its mask: too few to train and to validate."),
    ],
)
def test_check_and_train_agree_on_sets_that_have_nothing_to_train_on(
    make_set, monkeypatch, tmp_path, capsys, names, what
):
    monkeypatch.chdir(tmp_path)
    make_set(dict.fromkeys(names, MASK * 1))
    for words in (["data", "check", "set"], ["train", "--data", "set", "--dry-run"]):
        with pytest.raises(SystemExit, match="3"):
            main(words)
        told = capsys.readouterr()
        assert "SK-T004" in told.out + told.err and what in told.out + told.err
    assert "not ready to train" not in told.out
