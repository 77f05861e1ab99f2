"""`val_share=0`: no image is held apart, the last model is kept, and nothing claims a score."""

import json
import shutil

import pytest
import torch

import segkit
from segkit.scoring.evaluate_model import EvaluationSettings, evaluate_model
from segkit.training.monitoring.events import Silence
from segkit.training.training import resume, train


class Told(Silence):
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def decided(self, sentences) -> None:
        self.lines += sentences


@pytest.fixture
def whole(settings, tiny_folder, tmp_path):
    """whole(epochs=1, ...): settings over the twelve training images, in no parts."""
    root = tmp_path / "whole"
    for part in ("images", "masks"):
        shutil.copytree(tiny_folder / part / "train", root / part)
    return lambda **changes: settings(data=str(root), val_share=0, **changes)


def test_the_last_model_is_kept_without_a_score(whole):
    told = Told()
    result = train(whole(epochs=3), told)
    assert dict(told.lines)["loss"].endswith("; not scored: no image validates")
    rows = [json.loads(line) for line in (result.folder / "metrics.jsonl").open()]
    assert [(row["scores"], row["is_best"]) for row in rows] == [({}, False)] * 3
    assert result.scores == {} and result.best_epoch is None
    record = json.loads((result.folder / "model" / "model.json").read_text())
    assert record["training"]["epoch"] == 3 and record["training"]["scores"] == {}


def test_it_goes_on_bit_by_bit(whole, interrupted, tmp_path):
    straight = train(whole(epochs=3, out=str(tmp_path / "straight")))
    interrupted(whole(epochs=3, checkpoint_steps=2, out=str(tmp_path / "cut")), after=5)
    continued = resume(tmp_path / "cut")
    first, second = (segkit.load_model(each.folder).state_dict() for each in (straight, continued))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_score_on_these_images_says_that_it_flatters(whole):
    folder = str(train(whole(epochs=1)).folder)
    found = evaluate_model(EvaluationSettings(folder, split="all", device="cpu"))
    assert [note for note in found.cautions if "--data DIR scores others" in note]
