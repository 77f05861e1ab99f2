"""What can be known before a long training: its time, whether it learns, whether it all works."""

import re
import tempfile
import time
from pathlib import Path

import pytest
import torch

from segkit.errors import ModelFileError, OutOfMemory
from segkit.training import smoke
from segkit.training.loop.learner import Learner
from segkit.training.monitoring.events import Silence
from segkit.training.training import train

WAIT = 0.2


class Told(Silence):
    """Keeps what a training says that it will do."""

    def __init__(self):
        self.lines = {}

    def decided(self, lines):
        for subject, sentence in lines:
            self.lines.setdefault(subject, []).append(sentence)


@pytest.fixture
def told():
    return Told()


def test_a_dry_run_says_how_long_a_step_an_epoch_and_all_of_it_take(
    settings, told, monkeypatch, tmp_path
):
    step = Learner.step

    def slow(self, batch, number):
        time.sleep(WAIT)
        return step(self, batch, number)

    monkeypatch.setattr(Learner, "step", slow)
    # 12 images in batches of 4 make 3 steps an epoch.
    assert train(settings(epochs=100), told, dry_run=True) is None
    [said] = told.lines["time"]
    a_step = float(re.search(r"([\d.]+) s a step", said)[1])
    assert WAIT <= a_step < 5 * WAIT
    whole, an_epoch = re.search(
        r"about (\d+) min \d+ s .* ([\d.]+) s an epoch, [\d.]+ s an eval", said
    ).groups()
    assert float(an_epoch) == pytest.approx(3 * a_step, abs=1)
    assert int(whole) >= 100 * 3 * WAIT // 60
    assert "free in" in told.lines["disk"][0]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_meets_the_end_of_memory_before_the_training_does(settings, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(Learner, "step", full)
    with pytest.raises(OutOfMemory, match=r"SK-T002"):
        train(settings(), dry_run=True)


def test_images_learnt_by_heart_are_scored_nearly_perfectly(settings, told):
    result = train(settings(overfit=2, epochs=150, evaluate_every=50, lr=0.01), told)
    assert result.scores["miou"] > 0.95
    assert "2 train, 2 val" not in " ".join(told.lines["data"])  # the set itself is reported whole
    assert "--overfit 2: the first 2 training images alone" in told.lines["data"][-1]
    assert "none augmentation" in told.lines["training"][0]


def test_to_learn_more_images_than_there_are_takes_all(settings, told):
    train(settings(overfit=100, epochs=1), told)
    assert "the first 12 training images alone" in told.lines["data"][-1]


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_smoke_test_does_all_of_it_and_keeps_nothing(settings, temporary):
    # However long the training is to be, asked for in epochs or in minutes.
    done = dict(smoke.smoke_test(settings(epochs=50, minutes=600)))
    assert list(done) == ["trained", "resumed", "predicted", "smoke"]
    assert "an epoch of 2 steps" in done["trained"]
    assert list(temporary.glob("segkit-*")) == []  # PyTorch may keep a cache of its own there


def test_a_smoke_test_fails_where_the_training_would(settings, temporary, monkeypatch):
    def damaged(folder, changes):
        assert list(Path(folder, "checkpoints").glob("step-*"))
        raise ModelFileError("SK-M002", "damaged.", "Start anew.")

    monkeypatch.setattr(smoke, "resume", damaged)
    with pytest.raises(ModelFileError, match="damaged"):
        smoke.smoke_test(settings())
    assert list(temporary.glob("segkit-*")) == []  # PyTorch may keep a cache of its own there
