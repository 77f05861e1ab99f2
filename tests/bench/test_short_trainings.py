"""Scores beside cost: one training for each network, the same budget for all."""

import pytest
from PIL import Image

from segkit.bench.display.watching import Quiet
from segkit.bench.records.case import Case
from segkit.bench.records.row import Row
from segkit.bench.runner.process import WorkerFailed
from segkit.bench.runner.short_trainings import QualitySettings, key_of, with_quality
from segkit.bench.worker.short_training import train_briefly
from segkit.data.opening import demo

TINY = "unet(depth=2, width=4)"
FOUND = {
    "quality": {
        **{"score": 0.5, "metric": "miou", "convention": "over classes", "data": "demo set"},
        **{"epochs": 4, "steps": 80, "seconds": 1.0},
    }
}


def row(**changes) -> Row:
    status = changes.pop("status", "ok")
    case = {"encoder": "unet", "decoder": "unet", "upsampler": "bilinear", "loss": "dice+ce"}
    return Row(case=Case(**case | changes), status=status, reason="" if status == "ok" else "no")


@pytest.fixture
def trainings(monkeypatch):
    asked = []

    class Pretender:
        def ask(self, request, **ignored):
            asked.append(request)
            if request["parts"]["encoder"] == "broken":
                raise WorkerFailed("crashed", "the loss is nan")
            return {"event": "trained", "found": FOUND}

        def close(self):
            pass

    monkeypatch.setattr("segkit.bench.runner.short_trainings.WorkerProcess", Pretender)
    return asked


def test_rows_of_one_network_share_one_training(trainings, tmp_path):
    rows = [row(), row(size=512), row(batch=1), row(mode="infer", loss=None), row(compile="yes")]
    scored = with_quality(rows, QualitySettings(), Quiet(), tmp_path)
    assert [each.quality.score for each in scored] == [0.5] * 5
    assert len(trainings) == 1
    assert trainings[0]["parts"] == {
        **{"encoder": "unet", "decoder": "unet", "upsampler": "bilinear", "loss": "dice+ce"},
        "precision": "fp32",
    }


def test_networks_that_differ_are_each_trained_with_the_same_budget(trainings, tmp_path):
    rows = [row(), row(encoder="densenet121"), row(upsampler="nearest"), row(precision="bf16")]
    with_quality(rows, QualitySettings(epochs=7), Quiet(), tmp_path)
    assert len(trainings) == 4
    assert {each["settings"]["epochs"] for each in trainings} == {7}


def test_rows_without_a_network_or_without_result_are_not_trained(trainings, tmp_path):
    rows = [row(status="oom"), row(task="loss", encoder=None)]
    assert with_quality(rows, QualitySettings(), Quiet(), tmp_path) == rows
    assert trainings == [] and key_of(rows[1].case) is None


def test_a_training_that_fails_costs_its_score_alone(trainings, tmp_path):
    told = []

    class Told(Quiet):
        def noticed(self, text):
            told.append(text)

    scored = with_quality([row(encoder="broken"), row()], QualitySettings(), Told(), tmp_path)
    assert scored[0].quality is None and scored[1].quality.score == 0.5
    assert told == ["No score for broken + unet + bilinear + dice+ce + fp32: the loss is nan."]


def test_the_pictures_of_artefacts_lie_below_one_another(trainings, monkeypatch, tmp_path):
    for name, height in (("a.png", 40), ("b.png", 60)):
        Image.new("RGB", (50, height), "black").save(tmp_path / name)
    pictures = [{"at_start": 0.1, "picture": name} for name in ("a.png", "b.png")]
    answers = iter([{"found": FOUND | {"checkerboard": each}} for each in pictures])
    ask = "segkit.bench.runner.short_trainings.WorkerProcess.ask"
    monkeypatch.setattr(ask, lambda *_, **__: next(answers))
    rows = [row(), row(upsampler="nearest")]
    with_quality(rows, QualitySettings(checkerboard=True), Quiet(), tmp_path)
    with Image.open(tmp_path / "checkerboard.png") as sheet:
        assert sheet.size == (50, 18 + 40 + 18 + 60)
        assert sheet.getpixel((25, 18 + 20)) == sheet.getpixel((25, 76 + 30)) == (0, 0, 0)
        assert sheet.getpixel((49, 58 + 2)) == (255, 255, 255)


def test_a_short_training_gives_score_convention_and_artefacts(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "SPLITS", {"train": 8, "val": 4, "test": 4})
    settings = vars(QualitySettings(epochs=1, batch=4, checkerboard=True))
    parts = {"encoder": TINY, "decoder": "unet", "upsampler": "transposed", "loss": "ce"}
    request = {"settings": settings, "parts": parts | {"precision": "fp32"}}
    found = train_briefly(request | {"picture": str(tmp_path / "a.png")}, lambda stage: None)
    quality = found["quality"]
    assert 0 <= quality["score"] <= 1 and quality["metric"] == "miou"
    assert "mean over classes" in quality["convention"]
    assert (quality["epochs"], quality["steps"], quality["data"]) == (1, 2, "demo set")
    assert 0 < found["checkerboard"]["at_start"] < 1
    assert found["checkerboard"]["picture"] == "a.png"
    assert Image.open(tmp_path / "a.png").size == (2 * 192 + 8, 192 + 18)
