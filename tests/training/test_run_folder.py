"""A run's folder: a new one each time, a log that can be read back, and can be rewound."""

import csv
import json
import math
import subprocess
import sys

import pytest
from PIL import Image

import segkit
from segkit.config import TrainConfig, read_config
from segkit.errors import StorageError
from segkit.scoring.evaluate_model import EvaluationSettings, evaluate_model
from segkit.training.monitoring.events import EpochReport
from segkit.training.preparation.decisions import Length, length_of_training
from segkit.training.run.run_folder import RunFolder
from segkit.training.training import train


def report(epoch, **scores):
    return EpochReport(
        epoch=epoch, epochs=3, step=epoch * 10, loss=0.5, learning_rate=1e-3, images_per_second=9.0,
        seconds=1.0, memory=None, scores=scores, conventions={"miou": "a sentence"},
        score_name="miou", is_best=True,
    )  # fmt: skip


def test_a_run_holds_what_it_promises(settings, tmp_path):
    result = train(settings(epochs=1))
    held = {each.name for each in result.folder.iterdir()}
    assert held >= {
        "config.yaml",
        "model",
        "checkpoints",
        "metrics.csv",
        "metrics.jsonl",
        "samples",
    }
    picture = next(result.folder.glob("samples/epoch-0001/*.png"))
    assert Image.open(picture).width >= 3 * 24


def test_an_existing_run_is_never_overwritten(tmp_path):
    folders = [RunFolder.create(tmp_path / "run").folder.name for _ in range(3)]
    assert folders == ["run", "run-2", "run-3"]


def test_the_saved_settings_hold_what_was_decided(settings, tmp_path):
    train(settings(epochs=1, size=None, workers="auto", precision="auto"))
    saved = read_config(tmp_path / "run" / "config.yaml")
    assert isinstance(saved.size, int)
    assert isinstance(saved.workers, int)
    assert saved.precision != "auto"
    assert saved.in_channels == 3


def test_the_saved_model_scores_as_the_log_says(settings, tmp_path):
    result = train(settings(epochs=3, precision="fp32"))
    found = evaluate_model(EvaluationSettings(str(result.folder), device="cpu", precision="fp32"))
    assert result.scores.items() <= found.scores.values.items()
    assert segkit.load_model(result.folder).record.training["scores"] == result.scores


def test_the_loss_of_validation_is_logged_where_it_was_measured(settings, tmp_path):
    result = train(settings(epochs=3, evaluate_every=2, checkpoint_steps=1))
    rows = list(csv.DictReader((result.folder / "metrics.csv").open()))
    measured = [bool(row["val_loss"]) for row in rows]
    assert measured == [False, True, True]
    assert all(0 < float(row["val_loss"]) < 10 for row in rows[1:])


def test_the_log_shows_undefined_scores_as_empty_and_null(tmp_path):
    run = RunFolder(tmp_path)
    run.append(report(1, miou=0.5, sea=math.nan))
    run.append(report(2, miou=0.75, sea=0.25))
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [(row["epoch"], row["miou"], row["sea"]) for row in rows] == [
        ("1", "0.5", ""),
        ("2", "0.75", "0.25"),
    ]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["scores"] == {"miou": 0.5, "sea": None}
    assert lines[0]["conventions"] == {"miou": "a sentence"}


def test_rewinding_forgets_later_epochs_and_a_torn_line(tmp_path):
    run = RunFolder(tmp_path)
    for epoch in (1, 2, 3):
        run.append(report(epoch, miou=0.5))
    with run.log.open("a") as opened:
        opened.write('{"epoch": 4, "st')
    run.rewind(2)
    assert [json.loads(line)["epoch"] for line in run.log.read_text().splitlines()] == [1, 2]
    assert len(run.table.read_text().splitlines()) == 3


def test_a_lock_is_held_against_other_processes_and_ends_with_them(tmp_path):
    hold = (
        "import sys, time; from pathlib import Path\n"
        "from segkit.training.run.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked(): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match=f"is in use by process {process.pid}"):
            RunFolder(tmp_path).locked().__enter__()
    finally:
        process.kill()
        process.communicate()
    with RunFolder(tmp_path).locked():
        pass


@pytest.mark.parametrize(
    ("images", "batch", "epochs", "reason"),
    [
        (24, 8, 500, "to make 1,500 steps; --minutes N makes those that fit"),
        (1600, 8, 10, "10 epochs are the fewest that segkit chooses"),
        (240, 8, 50, "to make 1,500 steps; --minutes N makes those that fit"),
        (4, 8, 1500, "to make 1,500 steps; --minutes N makes those that fit"),
    ],
)
def test_a_training_without_epochs_is_1500_steps_long_or_ten_epochs(images, batch, epochs, reason):
    class Images:
        def split(self, name):
            return range(images)

    length = length_of_training(TrainConfig(data="street", batch=batch), Images())
    assert (length.epochs, length.reason) == (epochs, reason)


def test_an_epoch_count_that_was_asked_for_needs_no_reason():
    assert length_of_training(TrainConfig(data="street", epochs=7), None) == Length(7)


def test_epochs_between_evaluations_are_trained_without_score_and_checkpoint(settings, tmp_path):
    train(settings(epochs=3, evaluate_every=2))
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [bool(line["scores"]) for line in lines] == [False, True, True]
    steps = {each.name for each in (tmp_path / "run" / "checkpoints").glob("step-*")}
    assert steps == {"step-00000006", "step-00000009"}


def test_a_training_learns_what_colour_tells(settings):
    result = train(settings(epochs=12, lr=0.02, decoder="unet", augmentation="light"))
    assert result.scores["miou"] > 0.9
