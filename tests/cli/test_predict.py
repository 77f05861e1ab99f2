"""`segkit predict` as it is typed."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import segkit
from segkit.cli.predict_command import command


@pytest.fixture
def run_folder(tmp_path):
    model = segkit.build_model("unet(width=4, depth=2)", num_classes=3)
    segkit.save_model(model, tmp_path / "run/model", classes=("ground", "road", "sky"))
    (tmp_path / "images").mkdir()
    for name, shape in {"a": (21, 34, 3), "b": (21, 34), "c": (8, 50, 4)}.items():
        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/{name}.png")
    return tmp_path


def predict(folder, *arguments):
    given = [str(folder / "run"), *map(str, arguments), "--out", str(folder / "out")]
    return CliRunner().invoke(command, given, standalone_mode=False)


def test_a_folder_is_predicted_and_the_places_of_the_results_are_told(run_folder):
    result = predict(run_folder, run_folder / "images")
    assert result.return_value == 0
    assert f"3 masks in {run_folder / 'out/masks'}" in result.output
    with Image.open(run_folder / "out/masks/c.png") as mask:
        assert mask.size == (50, 8)


def test_json_is_what_the_file_holds(run_folder):
    result = predict(run_folder, run_folder / "images/*.png", "--json", "--no-overlay")
    printed = json.loads(result.stdout)
    assert printed == json.loads((run_folder / "out/predictions.json").read_text())
    assert printed["model"]["encoder"].startswith("unet(depth=2, width=4")
    assert printed["segkit"] == segkit.__version__
    assert [each["overlay"] for each in printed["images"]] == [None] * 3


def test_a_bad_image_gives_exit_status_3_and_its_name(run_folder):
    (run_folder / "images/page.png").write_text("<!doctype html>")
    result = predict(run_folder, run_folder / "images")
    assert result.return_value == 3
    assert "1 image could not be predicted:\nSK-D006:" in result.output
    assert "page.png looks like HTML" in result.output
    assert (run_folder / "out/masks/a.png").is_file()


def test_precision_and_batch_leave_the_masks_as_they_are(run_folder):
    masks = []
    for number, options in enumerate([["--batch", "4"], ["--batch", "1"]]):
        out = run_folder / f"out{number}"
        images = [str(run_folder / "run"), str(run_folder / "images"), "--precision", "fp32"]
        CliRunner().invoke(command, [*images, "--out", str(out), *options], catch_exceptions=False)
        masks.append({p.name: p.read_bytes() for p in sorted((out / "masks").iterdir())})
    assert masks[0] == masks[1]
    assert len(masks[0]) == 3
