"""Predictions that go on where they stopped, mirrored answers, and the tables over all images."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import tifffile
import torch
from PIL import Image

import segkit
from segkit.data.layouts.annotations import read_annotations
from segkit.errors import UsageError
from segkit.inference.certainty import entropy
from segkit.inference.files import PredictionSettings, predict_to_folder
from segkit.inference.output import Output

CLASSES = ("ground", "cell", "=cmd()")
ALL = {"objects": True, "geojson": True, "coco": True, "probabilities": True, "uncertainty": True}


@pytest.fixture
def place(tmp_path):
    """A model in model/, and five images of three sizes in images/."""
    torch.manual_seed(0)
    model = segkit.build_model("unet(width=4, depth=2)", num_classes=3)
    segkit.save_model(model, tmp_path / "model", classes=CLASSES)
    (tmp_path / "images").mkdir()
    random = np.random.default_rng(0)
    for number, shape in enumerate([(21, 34), (21, 34), (16, 16), (9, 40), (30, 12)]):
        pixels_HWC = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
        Image.fromarray(pixels_HWC).save(tmp_path / f"images/{number}.png")
    return tmp_path


def predict(place, out, progress=lambda done, images: None, **options):
    asked = PredictionSettings(
        str(place / "model"), precision="fp32", batch=1, tta=options.pop("tta", False)
    )
    output = Output(place / out, **options)
    return predict_to_folder(asked, [place / "images"], output, progress)


def files(folder):
    found = [each for each in sorted(folder.rglob("*")) if each.is_file()]
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in found}


def stop_after(count):
    def progress(done, images):
        if done == count:
            raise KeyboardInterrupt

    return progress


def rows(file):
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def test_stopped_and_gone_on_with_it_writes_what_one_command_writes(place):
    predict(place, "whole", **ALL)
    for count in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            predict(place, "parts", stop_after(count), **ALL, resume=True)
    # A kill in the middle of a line.
    journal = place / "parts/done.jsonl"
    journal.write_bytes(journal.read_bytes()[:-40])
    predict(place, "parts", **ALL, resume=True)
    assert files(place / "parts") == files(place / "whole")
    assert len(files(place / "whole")) == 5 * 6 + 5


def test_what_is_done_is_left_alone_and_what_changed_is_done_again(place):
    predict(place, "out")
    mask = place / "out/masks/0.png"
    before = mask.stat().st_mtime_ns
    Image.fromarray(np.zeros((5, 7, 3), np.uint8)).save(place / "images/1.png")
    (place / "out/masks/2.png").unlink()
    report = predict(place, "out", resume=True)
    assert mask.stat().st_mtime_ns == before
    assert [(each.height, each.width) for each in report.images][:3] == [(21, 34), (5, 7), (16, 16)]
    with Image.open(place / "out/masks/1.png") as again:
        assert again.size == (7, 5)
    assert (place / "out/masks/2.png").is_file()


def test_without_resume_results_are_refused_with_the_word_that_helps(place):
    predict(place, "out")
    with pytest.raises(UsageError, match="--resume"):
        predict(place, "out")


def test_another_model_or_other_settings_are_refused(place):
    predict(place, "out")
    with pytest.raises(UsageError, match="least_area 1, now 9"):
        predict(place, "out", least_area=9, resume=True)
    torch.manual_seed(1)
    model = segkit.build_model("unet(width=4, depth=2)", num_classes=3)
    segkit.save_model(model, place / "model", classes=CLASSES)
    with pytest.raises(UsageError, match="another model"):
        predict(place, "out", resume=True)


def test_tables_hold_every_image_failed_ones_too_and_every_object(place):
    (place / "images/page.png").write_text("<!doctype html>")
    report = predict(place, "out", **ALL)
    summary, objects = rows(place / "out/summary.csv"), rows(place / "out/objects.csv")
    assert [each["status"] for each in summary[:5]] == ["ok"] * 5
    assert summary[5]["status"].startswith("SK-D006: ")
    assert len(report.failed) == 1
    for each in summary[:5]:
        mine = [row for row in objects if row["image"] == each["image"]]
        assert sum(int(each[f"objects/{name}"]) for name in CLASSES[1:]) == len(mine)
        pixels = int(each["height"]) * int(each["width"])
        covered = 1 - float(each["share/ground"])
        assert sum(int(row["area_pixels"]) for row in mine) == round(covered * pixels)
        assert float(each["doubt_mean"]) <= float(each["doubt_p95"]) <= 1
    coco = json.loads((place / "out/coco.json").read_text())
    assert len(coco["annotations"]) == len(objects)
    assert {each["id"] for each in coco["categories"]} == {1, 2}
    assert len({each["id"] for each in coco["annotations"]}) == len(objects)


def test_coco_is_read_back_as_the_masks_it_came_from(place):
    report = predict(place, "out", coco=True)
    kept = shutil.copy(place / "out/coco.json", place / "images/instances_all.json")
    found = read_annotations(Path(kept))
    assert found.classes == ("background", *CLASSES[1:])
    drawings = [each for split in found.splits.values() for each in split]
    for image, drawing in zip(report.images, drawings, strict=True):
        assert drawing.image == Path(image.file)
        with Image.open(place / "out" / image.mask) as mask:
            assert (drawing.draw(image.height, image.width) == np.asarray(mask)).all()


def test_probability_maps_are_those_of_python(place):
    predict(place, "out", probabilities=True, uncertainty=True)
    answer = segkit.predict(
        place / "model", place / "images/3.png", probabilities=True, precision="fp32"
    )
    kept = tifffile.imread(place / "out/probabilities/3.tif")
    np.testing.assert_allclose(kept, answer.probabilities, atol=1e-6)
    with Image.open(place / "out/uncertainty/3.png") as doubt:
        assert np.abs(np.asarray(doubt) / 255 - answer.uncertainty).max() <= 0.5 / 255 + 1e-6


def test_mirrored_answers_are_averaged_each_mirrored_back(place):
    model = segkit.load_model(place / "model").eval()
    pixels_HWC = np.asarray(Image.open(place / "images/4.png"))
    answer = model.predict(pixels_HWC, tta=True, probabilities=True, precision="fp32")
    plain = [
        model.predict(np.ascontiguousarray(turned), probabilities=True, precision="fp32")
        for turned in (
            pixels_HWC,
            pixels_HWC[:, ::-1],
            pixels_HWC[::-1],
            pixels_HWC[::-1, ::-1],
        )
    ]
    one, left_right, upside_down, both = (each.probabilities for each in plain)
    mean_KHW = one + left_right[:, :, ::-1] + upside_down[:, ::-1] + both[:, ::-1, ::-1]
    np.testing.assert_allclose(answer.probabilities, mean_KHW / 4, atol=1e-5)
    assert (answer.labels == answer.probabilities.argmax(axis=0)).all()
    assert np.abs(answer.probabilities - one).max() > 1e-4


def test_doubt_is_scipys_entropy_over_that_of_equal_shares():
    probability_KHW = np.random.default_rng(0).dirichlet(np.ones(4), (5, 6)).transpose(2, 0, 1)
    expected = scipy.stats.entropy(probability_KHW, base=4, axis=0)
    np.testing.assert_allclose(entropy(probability_KHW), expected, atol=1e-6)
    sure = np.zeros((3, 2, 2), np.float32)
    sure[1] = 1
    assert (entropy(sure) == 0).all()
    assert entropy(np.full((3, 2, 2), 1 / 3, np.float32)) == pytest.approx(1)


def test_answers_in_python_have_objects(place):
    answer = segkit.predict(place / "model", place / "images/0.png")
    assert sum(each.area for each in answer.objects) == (answer.labels != 0).sum()
    assert answer.uncertainty is None


def test_tiles_with_probabilities_are_refused(place):
    asked = PredictionSettings(str(place / "model"), tile=16, tta=True)
    with pytest.raises(UsageError, match="need whole images"):
        predict_to_folder(asked, [place / "images"], Output(place / "out"))
    with pytest.raises(UsageError, match="need whole images"):
        segkit.predict(place / "model", place / "images/0.png", tile=16, probabilities=True)
