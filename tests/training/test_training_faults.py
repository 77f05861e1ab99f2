"""What goes wrong in a training is refused or named, with what to do; what was saved stays."""

import json
import math
import shutil
from collections import namedtuple

import pytest
import torch
from safetensors import safe_open

from segkit.config import layered
from segkit.device import device_errors
from segkit.distributed import Group
from segkit.errors import (
    DataError,
    Diverged,
    EnvironmentFault,
    OutOfMemory,
    StorageError,
    UsageError,
)
from segkit.training import training
from segkit.training.monitoring.events import Silence
from segkit.training.preparation.decisions import less_memory
from segkit.training.run import writer
from segkit.training.training import resume, train


def test_a_loss_that_is_no_number_names_the_images_and_keeps_them(settings, tmp_path):
    with pytest.raises(Diverged) as caught:
        train(settings(lr=1e30, batch=2, metric="miou"))
    error = caught.value
    assert (error.code, error.exit_code) == ("SK-T001", 6)
    assert "in epoch 1, on " in error.what
    kept = tmp_path / "run" / "bad_batch.safetensors"
    with safe_open(kept, framework="pt") as opened:
        assert opened.metadata()["ids"] in error.what
        assert opened.get_tensor("image_BCHW").shape == (2, 3, 16, 16)
    assert f"The batch is kept in {kept}." in error.fix


@pytest.mark.parametrize("where", ["weight", "statistic", "average"])
def test_a_model_that_is_no_longer_finite_is_neither_scored_nor_saved(settings, tmp_path, where):
    class Break(Silence):
        """After the second epoch: the loss of a batch norm in training does not show it."""

        def finished_epoch(self, report):
            if report.epoch == 2:
                model = loops[0].learner.model
                if where == "average":
                    loops[0].learner.average.model.head.bias.data[0] = math.inf
                elif where == "weight":
                    model.head.bias.data[0] = math.nan
                else:
                    norms = (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))
                    next(norms).running_var[0] = math.nan

    loops, best = [], {}

    class Remembered(training.Loop):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            loops.append(self)

        def checkpoint(self):
            best["model"] = (tmp_path / "run/model/model.safetensors").read_bytes()
            return super().checkpoint()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Loop", Remembered)
        with pytest.raises(Diverged) as caught:
            train(settings(decoder="unet"), Break())
    assert caught.value.code == "SK-T001"
    if where != "weight":  # which the very next loss shows
        name = {"statistic": "running_var", "average": "the average's head.bias"}[where]
        assert name in caught.value.what
        assert "It is not saved" in caught.value.what
    assert "The batch is kept in" in caught.value.fix
    assert (tmp_path / "run/model/model.safetensors").read_bytes() == best["model"]
    assert resume(tmp_path / "run").epochs == 4


def test_a_batch_of_one_is_refused_before_the_first_step(settings, tmp_path):
    with pytest.raises(DataError) as caught:
        train(settings(encoder="densenet121", decoder="unet", batch=1, size=32))
    assert str(caught.value) == (
        "SK-T003: a batch of 1 with crops of 32 x 32 pixels leaves batch normalisation one value "
        "per channel at the network's deepest map, which it cannot train on.\n"
        "         Use --batch 2 or more, or a larger --size, or parts without batch normalisation."
    )
    assert not (tmp_path / "run").exists()


def test_a_batch_of_one_with_room_is_trained_on(settings):
    assert train(settings(batch=1, epochs=1)).epochs == 1


def test_too_little_memory_says_what_to_shrink():
    group = Group(0, 1, 1, torch.device("cpu"))
    fix = less_memory(layered())
    with pytest.raises(OutOfMemory) as caught, device_errors(group.device, fix):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")
    assert caught.value.exit_code == 7
    assert "(CUDA out of memory. Tried to allocate 2 GiB)" in caught.value.what
    assert "--batch" in caught.value.fix


def test_an_allocation_beyond_the_cpus_memory_is_too_little_memory():
    group = Group(0, 1, 1, torch.device("cpu"))
    with pytest.raises(OutOfMemory), device_errors(group.device, "Use less."):
        torch.empty(2**60)


def test_a_small_disk_is_refused_before_the_first_step(settings, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1000))
    with pytest.raises(
        StorageError, match=r"has 1,000 bytes free, and the checkpoints of this model need \d"
    ) as caught:
        train(settings())
    assert caught.value.code == "SK-S001"


def test_pictures_that_cannot_be_written_do_not_end_a_training(settings, monkeypatch):
    def refuse(*arguments, **options):
        raise StorageError("SK-S001", "the disk is full.")

    warned = []

    class Listener(Silence):
        def warned(self, text):
            warned.append(text)

    monkeypatch.setattr(writer, "write_samples", refuse)
    assert train(settings(epochs=1), Listener()).epochs == 1
    assert warned == ["SK-S001: the disk is full."]


def test_a_training_ends_when_its_score_no_longer_rises(settings, tmp_path):
    result = train(settings(epochs=40, patience=1, lr=1e-9, metric="miou", ema_decay=0.0))
    assert result.epochs < 40
    assert result.stopped == "no better score in 1 evaluations"
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == result.epochs


def test_data_without_validation_train_and_keep_the_last_model(settings, tiny_folder, tmp_path):
    root = tmp_path / "data"
    for kind in ("images", "masks"):
        shutil.copytree(tiny_folder / kind / "train", root / kind / "train")
    result = train(settings(data=str(root), epochs=1))
    assert (result.folder / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"device": "toaster"}, UsageError, "'toaster' is no device"),
        ({"device": "cuda:99"}, EnvironmentFault, "was asked for"),
        ({"precision": "fp16"}, EnvironmentFault, "fp16 was asked for on cpu"),
        ({"thaw_epoch": 2}, UsageError, "thaw_epoch is 2, and nothing is frozen"),
        ({"freeze": "encoder.nothing"}, UsageError, "the model has no part 'encoder.nothing'"),
        ({"metric": "miuo"}, UsageError, "no metric is called 'miuo'"),
        ({"data": "/nowhere"}, DataError, "/nowhere"),
    ],
)
def test_what_can_be_known_is_refused_before_a_folder_is_made(
    settings, tmp_path, changes, kind, says
):
    with pytest.raises(kind, match=says):
        train(settings(**changes))
    assert not (tmp_path / "run").exists()


def test_a_number_that_is_not_defined_is_logged_as_such(settings, tmp_path):
    train(settings(epochs=1, metric="pixel_accuracy,iou"))
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert line["conventions"].keys() == {"pixel_accuracy", "iou"}
    assert all(value is None or 0 <= value <= 1 for value in line["scores"].values())
