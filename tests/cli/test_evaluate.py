"""`segkit evaluate` as people type it."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from segkit.cli.main import main

TRAIN = ["train", "--encoder", "unet(depth=2, width=4)", "--weights", "none", "--epochs", "1"]
TRAIN += ["--size", "32", "--device", "cpu", "--precision", "fp32", "--set", "samples=0"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on the demo set."""
    run = tmp_path_factory.mktemp("evaluated") / "run"
    with pytest.raises(SystemExit) as ended:
        main([*TRAIN, "--out", str(run)])
    assert ended.value.code == 0
    return run


@pytest.fixture
def segkit(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


def test_the_table_shows_classes_by_name_conventions_and_images(segkit, trained):
    status, out, _ = segkit("evaluate", str(trained), "--split", "test")
    assert status == 0
    assert "on 40 images of demo set, test" in out
    assert "iou/ring" in out
    assert out.count("miou, iou: IoU per class from one confusion matrix") == 1


def test_json_holds_the_score_that_training_logged(segkit, trained):
    status, out, _ = segkit("evaluate", str(trained), "--json", "--precision", "fp32")
    found = json.loads(out)
    logged = json.loads((trained / "metrics.jsonl").read_text())
    assert status == 0
    assert found["scores"]["miou"] == logged["scores"]["miou"]
    assert found["images"] == 40
    pixels = sum(map(sum, found["confusion"]))
    assert pixels == 40 * 128 * 128


def test_metrics_can_be_named(segkit, trained):
    _, out, _ = segkit("evaluate", str(trained), "--metric", "pixel_accuracy", "--json")
    assert json.loads(out)["conventions"].keys() == {"pixel_accuracy"}


def test_a_split_that_is_not_there_is_refused_with_those_that_are(segkit, trained):
    status, _, err = segkit("evaluate", str(trained), "--split", "tset")
    assert status == 2
    assert "test" in err


def test_a_folder_without_model_is_refused(segkit, tmp_path):
    status, _, err = segkit("evaluate", str(tmp_path))
    assert status == 5
    assert "SK-M001" in err


def test_a_model_without_run_needs_data(segkit, trained):
    status, _, err = segkit("evaluate", str(trained / "model"))
    assert status == 2
    assert "Say on which data to score it: segkit evaluate" in err


def rows(file):
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_out_keeps_what_was_found(segkit, trained, tmp_path):
    out = tmp_path / "kept"
    status, printed, err = segkit("evaluate", str(trained), "--out", str(out), "--json")
    assert status == 0, err
    said = json.loads(printed)
    assert json.loads((out / "scores.json").read_text()) == said
    counts = np.array(said["confusion"])
    table = (out / "confusion.csv").read_text().splitlines()
    assert [[int(n) for n in line.split(",")[1:]] for line in table[1:]] == counts.tolist()
    classes = rows(out / "classes.csv")
    iou = counts.diagonal() / (counts.sum(0) + counts.sum(1) - counts.diagonal())
    assert [float(each["iou"]) for each in classes] == pytest.approx(iou.tolist(), abs=1e-6)
    assert all(float(e["iou_low"]) <= float(e["iou"]) <= float(e["iou_high"]) for e in classes)
    assert said["intervals"]["mean IoU"]["value"] == pytest.approx(said["scores"]["miou"])
    images = rows(out / "images.csv")
    assert len(images) == 40
    assert sum(int(each["pixels"]) for each in images) == counts.sum()
    bins = rows(out / "calibration.csv")
    assert sum(int(each["pixels"]) for each in bins) == counts.sum()
    cases = sorted(each.name for each in (out / "cases").iterdir())
    assert [name.partition("-")[0] for name in cases] == ["median"] * 3 + ["worst"] * 6
    worst = sorted(images, key=lambda each: float(each["mean_iou"]))[0]["image"]
    assert worst in next(name for name in cases if name.startswith("worst-01"))
    with Image.open(out / "cases" / cases[0]) as case:
        assert case.width >= 4 * 256
    assert segkit("evaluate", str(trained), "--out", str(out))[0] == 2
    page = (out / "report.html").read_text()
    assert f"segkit evaluate {trained} --out {out} --json" in page
    assert "<script" not in page


def test_scores_with_out_are_those_without(segkit, trained, tmp_path):
    plain, kept = (
        json.loads(segkit("evaluate", str(trained), "--json", *more)[1])
        for more in ([], ["--out", str(tmp_path / "kept")])
    )
    for name in ("scores", "confusion"):
        assert plain[name] == kept[name]


def test_of_tiles_all_but_the_certainty_is_kept(segkit, trained, tmp_path):
    out = tmp_path / "kept"
    given = ["--tile", "64", "--out", str(out)]
    assert segkit("evaluate", str(trained), *given)[0] == 0
    assert (out / "images.csv").is_file()
    assert not (out / "calibration.csv").exists()


@pytest.mark.integration
def test_several_runs_are_compared_on_the_same_images(segkit, trained, tmp_path):
    other = tmp_path / "copy"
    shutil.copytree(trained, other)
    out = tmp_path / "kept"
    status, printed, err = segkit("evaluate", str(trained), str(other), "--out", str(out))
    assert status == 0, err
    assert "+0.000 (+0.000 to +0.000)  not told apart" in printed
    table = rows(out / "comparison.csv")
    assert [each["run"] for each in table] == [str(trained), str(other)]
    assert table[1]["difference_low"] == table[1]["difference_high"] == "0.0"
    assert (out / "copy/report.html").is_file()
    page = (out / "report.html").read_text()
    gap = "+0.000 (+0.000 to +0.000)"
    (shown,) = {each for each in page.splitlines() if gap in each and str(other) in each}
    assert "not told apart" in shown and "2 models on the same images" in page
    assert "copy/report.html" in page and "segkit evaluate" in page


def test_a_run_named_twice_is_refused(segkit, trained):
    status, _, err = segkit("evaluate", str(trained), str(trained))
    assert status == 2
    assert "is named twice" in err


def test_scoring_what_was_trained_on_is_said(segkit, trained):
    said = [
        json.loads(segkit("evaluate", str(trained), "--split", split, "--json")[1])["cautions"]
        for split in ("train", "val")
    ]
    assert len(said[0]) == 1
    assert "of these images are those it was trained on" in said[0][0]
    assert said[1] == []


def test_images_that_a_drawn_split_leaves_out_are_counted(segkit, trained, tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / "set" / kind).mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(10):
        pixels_HWC = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        labels_HW = random.integers(0, 4, (32, 32)).astype(np.uint8)
        Image.fromarray(pixels_HWC).save(tmp_path / f"set/images/{number}.png")
        Image.fromarray(labels_HW.repeat(8, 0).repeat(8, 1)[:32, :32]).save(
            tmp_path / f"set/masks/{number}.png"
        )
    given = ["--data", str(tmp_path / "set"), "--json"]
    status, out, err = segkit("evaluate", str(trained), *given)
    assert status == 0, err
    assert json.loads(out)["cautions"] == ["8 images are not scored: --split all scores every one."]
    out = segkit("evaluate", str(trained), *given, "--split", "all")[1]
    assert json.loads(out)["cautions"] == []
