"""The page of a training: from what lies in the run folder, and never worth the training."""

import json

import numpy as np
import pytest

import segkit.training.run.report as report_module
from segkit.cli.main import main
from segkit.config import layered
from segkit.errors import UsageError
from segkit.scoring.evaluate_model import EvaluationSettings, evaluate_model
from segkit.training.monitoring.events import Silence
from segkit.training.run.report import read_confusion, write_report
from segkit.training.run.run_folder import RunFolder
from segkit.training.training import resume, train

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(tiny_settings, tmp_path):
    return layered(None, tiny_settings | {"out": str(tmp_path / "run"), "epochs": 2})


def test_the_page_holds_decisions_curves_classes_samples_and_the_command(settings):
    folder = train(settings).folder
    page = (folder / "report.html").read_text()
    decisions = json.loads((folder / "decisions.json").read_text())["decisions"]
    assert {"data", "model", "loss", "training"} <= {subject for subject, _ in decisions}
    for said in ("Curves", "Samples", "Time and memory", f"segkit train --config {folder}"):
        assert said in page
    assert page.count("data:image/png") == 2 * 5
    assert page.count("data:image/webp") == 1
    assert "http" not in page.replace("http-equiv", "")


def test_every_classs_score_is_logged_and_the_count_is_that_of_the_best_model(settings):
    folder = train(settings).folder
    classes, counts_KK = read_confusion(folder / "confusion.csv")
    found = evaluate_model(EvaluationSettings(str(folder), precision="fp32"))
    assert tuple(classes) == found.classes
    assert counts_KK.tolist() == found.scores.counts_KK.tolist()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    best = [each for each in lines if each["is_best"]][-1]
    union = counts_KK.sum(0) + counts_KK.sum(1) - counts_KK.diagonal()
    expected = counts_KK.diagonal() / np.maximum(union, 1)
    for name, iou, pixels in zip(classes, expected, union, strict=True):
        assert best["class_iou"][name] == (pytest.approx(iou) if pixels else None)


def test_the_loss_is_drawn_for_training_and_validation(settings, monkeypatch):
    drawn = {}
    real = report_module.charts.curves

    def curves(x, lines, theme, **how):
        drawn[how["name"]] = lines
        return real(x, lines, theme, **how)

    monkeypatch.setattr(report_module.charts, "curves", curves)
    train(settings)
    assert list(drawn["Loss"]) == ["training", "validation"]
    assert np.isfinite(list(drawn["Loss"].values())).all()


def test_a_run_without_notes_or_confusion_has_a_page_too(settings, capsys):
    folder = train(settings).folder
    for name in ("decisions.json", "confusion.csv", "report.html"):
        (folder / name).unlink()
    with pytest.raises(SystemExit) as ended:
        main(["report", str(folder)])
    assert ended.value.code == 0
    assert str(folder / "report.html") in capsys.readouterr().out
    assert "No confusion matrix was kept" in (folder / "report.html").read_text()


def test_a_class_is_found_whatever_the_table_made_of_its_name(settings):
    folder = train(settings).folder
    before = (folder / "report.html").read_text()
    classes, counts_KK = read_confusion(folder / "confusion.csv")
    RunFolder(folder).write_confusion([f"'{name}" for name in classes], counts_KK.tolist())
    assert write_report(folder).read_text() == before


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no run that has ended an epoch"):
        write_report(tmp_path)


def test_a_page_that_cannot_be_written_ends_no_training(settings, monkeypatch):
    class Warned(Silence):
        said = ""

        def warned(self, text):
            self.said += text

    def fails(*_, **__):
        raise ValueError("no such glyph")

    monkeypatch.setattr(report_module, "_curves", fails)
    watching = Warned()
    folder = train(settings, watching).folder
    assert "report.html could not be written (no such glyph)" in watching.said
    assert f"segkit report {folder}" in watching.said
    assert (folder / "model").is_dir()


def test_warnings_of_before_stay_when_a_run_goes_on(settings):
    folder = train(settings).folder
    file = folder / "decisions.json"
    notes = json.loads(file.read_text())
    file.write_text(json.dumps(notes | {"warnings": ["seen before"]}))
    resume(folder, {"epochs": 3})
    assert json.loads(file.read_text())["warnings"] == ["seen before"]
    assert "seen before" in (folder / "report.html").read_text()
