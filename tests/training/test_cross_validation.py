"""`segkit train --folds K`: as many runs, one page of all, and an ensemble; goes on when killed."""

from __future__ import annotations

import csv
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segkit
from segkit.config import read_config
from segkit.errors import UsageError
from segkit.recipes.rules import RULES
from segkit.training import cross_validation
from segkit.training.cross_validation import DECIDED_ONCE, go_on
from segkit.training.monitoring.events import Silence
from segkit.training.rehearsal.deadline import SharedTime

TINY = {
    "encoder": "unet(depth=2, width=4)",
    "weights": "none",
    "size": 32,
    "batch": 2,
    "epochs": 1,
    "augmentation": "light",
    "crops": "anywhere",
    "samples": 0,
    "workers": 0,
    "device": "cpu",
    "precision": "fp32",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in "abcdef":
        mask = np.zeros((32, 32), np.uint8)
        y, x = rng.integers(0, 20, 2).tolist()
        mask[y : y + 12, x : x + 12] = 1
        image = (rng.normal(60, 8, mask.shape) + 120 * mask).clip(0, 255).astype(np.uint8)
        for kind, array in (("images", image), ("masks", mask)):
            (tmp_path / "set" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / "set" / kind / f"{name}.png")
    return tmp_path / "set"


class Heard(Silence):
    """Ends the process's work, as a kill would, after so many epochs."""

    def __init__(self, most: int | None = None) -> None:
        self.most, self.epochs, self.warnings = most, 0, []
        self.lines: list[tuple[str, str]] = []

    def decided(self, lines):
        self.lines += lines

    def warned(self, text):
        self.warnings.append(text)

    def finished_epoch(self, report):
        self.epochs += 1
        if self.epochs == self.most:
            raise KeyboardInterrupt


def state(folder: Path) -> dict[str, np.ndarray]:
    model = segkit.load_model(folder)
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


@pytest.mark.integration
def test_a_cross_validation_that_was_killed_goes_on_at_its_fold_and_ends_the_same(data, tmp_path):
    whole = segkit.train(data, folds=3, out=str(tmp_path / "whole"), **TINY)
    killed = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        segkit.train(data, folds=3, out=str(killed), events=Heard(most=2), **TINY)
    assert (killed / "fold-1" / "finished.json").is_file()
    assert not (killed / "model").exists()
    first = (killed / "fold-1" / "model" / "model.json").stat().st_mtime_ns
    heard = Heard()
    again = go_on(killed, events=heard)
    # What was finished is not trained again.
    assert (killed / "fold-1" / "model" / "model.json").stat().st_mtime_ns == first
    assert heard.epochs == 2
    assert again.scores == whole.scores
    one, other = state(killed), state(whole.folder)
    assert all(np.array_equal(one[name], other[name]) for name in other)


@pytest.mark.integration
def test_scores_are_those_of_the_folds_and_of_all_images_counted_together(data, tmp_path):
    heard = Heard()
    result = segkit.train(data, folds=3, out=str(tmp_path / "run"), events=heard, **TINY)
    assert heard.warnings == []
    logs = [
        json.loads((result.folder / f"fold-{n}" / "metrics.jsonl").read_text().splitlines()[-1])
        for n in (1, 2, 3)
    ]
    assert result.scores["miou"] == pytest.approx(
        statistics.fmean(log["scores"]["miou"] for log in logs)
    )
    counts = np.zeros((2, 2))
    for n in (1, 2, 3):
        with (result.folder / f"fold-{n}" / "confusion.csv").open(newline="") as opened:
            counts += [[int(cell) for cell in row[1:]] for row in list(csv.reader(opened))[1:]]
    # Each of the six images of 32 x 32 pixels is counted once.
    assert counts.sum() == 6 * 32 * 32
    iou = counts[1, 1] / (counts[1].sum() + counts[:, 1].sum() - counts[1, 1])
    with (result.folder / "folds.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    ious = [log["class_iou"][rows[1]["class"]] for log in logs]
    assert float(rows[1]["mean IoU"]) == pytest.approx(statistics.fmean(ious), abs=1e-6)
    spread = float(rows[1]["standard deviation"])
    assert spread == pytest.approx(statistics.stdev(ious), abs=1e-6)
    assert float(rows[1]["all images"]) == pytest.approx(iou, abs=1e-6)
    page = (result.folder / "report.html").read_text()
    for n in (1, 2, 3):
        assert f'href="fold-{n}/report.html"' in page

    # The model is the mean of the three networks' probabilities.
    image = np.asarray(Image.open(data / "images" / "a.png"))
    folds = [
        segkit.predict(result.folder / f"fold-{n}", image, probabilities=True) for n in (1, 2, 3)
    ]
    together = segkit.predict(result.folder, image, probabilities=True).probabilities
    mean = np.mean([each.probabilities for each in folds], axis=0)
    assert np.allclose(together, mean, atol=1e-5)

    # Every image has trained some of its members: it is not scored on them.
    with pytest.raises(UsageError, match=r"SK-C009: .* is the ensemble of a cross-validation"):
        segkit.evaluate(result.folder)
    own = segkit.evaluate(result.folder / "fold-2")
    assert own.scores.values["miou"] == pytest.approx(logs[1]["scores"]["miou"], abs=1e-6)
    named = segkit.evaluate(result.folder / "fold-2", data)
    assert named.scores.values["miou"] == own.scores.values["miou"]


@pytest.mark.integration
def test_one_fold_can_be_trained_by_itself(data, tmp_path):
    result = segkit.train(data, folds=3, fold=2, out=str(tmp_path / "two"), **TINY)
    assert read_config(result.folder / "config.yaml").fold == 2
    assert not (result.folder / "fold-1").exists()
    assert result.folds == 0


@pytest.fixture
def deadlines(monkeypatch):
    """The (left, deadline) of each fold that was trained, in an epoch whatever its minutes are."""
    given, train = [], cross_validation.train

    def trained(config, events, *, deadline, **how):
        given.append((deadline.at - time.perf_counter(), deadline))
        return train(config.model_copy(update={"minutes": None, "epochs": 1}), events, **how)

    monkeypatch.setattr(cross_validation, "train", trained)
    monkeypatch.setattr(cross_validation, "_seconds_to_load", lambda fold: 20.0)
    return given


def test_folds_share_the_minutes_and_what_the_first_one_decides(
    data, tmp_path, monkeypatch, deadlines
):
    deciding = iter([("per-image", "asked first")])
    rules = [replace(rule, decide=lambda known: next(deciding, None)) for rule in RULES[:1]]
    monkeypatch.setattr("segkit.recipes.deciding.RULES", rules)
    settings = {**TINY, "epochs": None, "minutes": 10, "folds": 2, "out": str(tmp_path / "run")}
    heard = Heard()
    result = segkit.train(data, events=heard, **settings)
    configs = [read_config(result.folder / f"fold-{n}" / "config.yaml") for n in (1, 2)]
    assert configs[0].intensity == configs[1].intensity == "per-image"
    assert all(getattr(configs[0], name) == getattr(configs[1], name) for name in DECIDED_ONCE)
    assert ("fold", cross_validation.SHARED) in heard.lines
    (first, one), (second, other) = deadlines
    # 600 s less 3 s for the page of all, halved; then what is left, less two networks' loading.
    assert first == pytest.approx(597 / 2, abs=1)
    assert 597 - 40 - 60 < second < 597 - 40
    assert one.ending == other.ending == 3
    assert one.told == "a training's part of --minutes 10, 5"


def test_each_fold_has_an_equal_part_of_what_the_ones_before_left(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    shared = SharedTime.of(2, begun=990.0)  # loading PyTorch took 10 s: pages take 13 s
    assert shared.part(3).at == pytest.approx(1000 + (110 - 13) / 3)
    now, shared.gathering = 1050.0, 7.0
    assert shared.part(2).seconds == pytest.approx((60 - 13 - 7) / 2)
    now = 1200.0
    assert shared.part(1).seconds == 0


def test_what_cannot_be_leaves_no_folder(data, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="SK-C009: 9 folds of 6 images"):
        segkit.train(data, folds=9, out=str(tmp_path / "run"), **TINY)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="SK-C009: fold is 4, and there are 3"):
        segkit.train(data, folds=3, fold=4, out=str(tmp_path / "run"), **TINY)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="SK-C009: --folds trains one fold after the other"):
        segkit.train(data, folds=3, out=str(tmp_path / "run"), **TINY)
