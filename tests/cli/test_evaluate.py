"""`segkit evaluate` as people type it."""

import json

import pytest

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
    assert "miou: IoU per class from one confusion matrix" in out


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
