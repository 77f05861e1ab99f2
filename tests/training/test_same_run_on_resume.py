"""A run that goes on is the same run, or is refused with what differs."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from segkit.cli.main import segkit
from segkit.config import layered
from segkit.errors import ModelFileError, UsageError
from segkit.training.monitoring.events import Silence
from segkit.training.training import resume, train


@pytest.fixture(scope="module")
def trained(tiny_settings, tiny_folder, tmp_path_factory):
    """A run stopped in its second epoch, beside its data, whose lists have an order."""
    place = tmp_path_factory.mktemp("trained")
    data = shutil.copytree(tiny_folder, place / "data")
    for split, count in (("train", 12), ("val", 5)):
        lines = (f"{split}/{number}.png\n" for number in range(count))
        (data / f"{split}.txt").write_text("".join(lines))
    (data / "data.yaml").write_text("train: train.txt\nval: val.txt\nnames: [a, b, c]\n")
    changes = {"data": str(data), "epochs": 1, "samples": 0, "out": str(place / "run")}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(layered(None, tiny_settings | changes))
    torch.set_num_threads(threads)
    return place


@pytest.fixture
def place(trained, tmp_path):
    """The same elsewhere: where run and data lie changes nothing."""
    shutil.copytree(trained, tmp_path / "moved")
    edit(tmp_path / "moved", f"data: {trained}", f"data: {tmp_path / 'moved'}")
    return tmp_path / "moved"


def edit(place, old, new):
    file = place / "run" / "config.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def paint(file):
    pixels = np.array(Image.open(file))
    pixels[0, 0] = 1 - pixels[0, 0] // 255
    Image.fromarray(pixels).save(file)


def list_lines(place, change):
    file = place / "data" / "train.txt"
    file.write_text("".join(change(file.read_text().splitlines(keepends=True))))


def cut_config(place):
    file = place / "run" / "config.yaml"
    text = file.read_text()
    file.write_text(text[: text.index("# share of all steps")])


CHANGES = {
    "an image's pixels": (
        lambda place, _: paint(place / "data/images/train/7.png"),
        r"1 image of train with other pixels or labels: train/7",
    ),
    "a mask's labels": (
        lambda place, _: paint(place / "data/masks/val/2.png"),
        r"1 image of val with other pixels or labels: val/2",
    ),
    "an image more": (
        lambda place, _: (
            [
                shutil.copy(place / f"data/{kind}/val/4.png", place / f"data/{kind}/train/12.png")
                for kind in ("images", "masks")
            ]
            + [
                paint(place / "data/images/train/12.png"),
                list_lines(place, lambda lines: [*lines, "train/12.png\n"]),
            ]
        ),
        r"1 image added to train: train/12",
    ),
    "an image less": (
        lambda place, _: list_lines(place, lambda lines: lines[1:]),
        r"1 image removed from train: train/0",
    ),
    "another order": (
        lambda place, _: list_lines(place, lambda lines: lines[::-1]),
        r"the images of train come in another order",
    ),
    "the classes": (
        lambda place, _: (place / "data/data.yaml").write_text(
            "train: train.txt\nval: val.txt\nnames: [a, c, b]\n"
        ),
        r"the data's classes is \['a', 'c', 'b'\] and was \['a', 'b', 'c'\]",
    ),
    "lr": (lambda place, _: edit(place, "lr: 0.001", "lr: 0.01"), r"lr is 0\.01 and was 0\.001"),
    "seed": (lambda place, _: edit(place, "seed: 0", "seed: 1"), r"seed is 1 and was 0"),
    "augmentation": (
        lambda place, _: edit(place, "augmentation: standard", "augmentation: light"),
        r"augmentation is light and was standard",
    ),
    "loss": (lambda place, _: edit(place, "loss: dice+ce", "loss: ce"), r"loss is ce and was dice"),
    "batch": (lambda place, _: edit(place, "batch: 4", "batch: 6"), r"batch is 6 and was 4"),
    "a config.yaml cut short": (
        lambda place, _: cut_config(place),
        r"config\.yaml lacks warmup_share, clip_norm, ema_decay and \d+ more: it was cut short",
    ),
    "threads": (
        lambda place, _: torch.set_num_threads(2),
        r"torch computes with 2 threads and did with 1 \(OMP_NUM_THREADS=1 gives it as many\)",
    ),
    "torch": (
        lambda place, patch: patch.setattr(torch, "__version__", "9.1.0"),
        r"torch is 9\.1\.0 and was 2\.",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_makes_it_another_run_is_named_and_refused(place, change, monkeypatch):
    resume(place / "run", {"epochs": 1})
    before = sorted((place / "run").rglob("*"))
    make, says = CHANGES[change]
    make(place, monkeypatch)
    with pytest.raises(UsageError, match=says) as caught:
        resume(place / "run", {"epochs": 2})
    assert caught.value.code == "SK-C014"
    assert f"segkit train --resume {place / 'run'} --force" in caught.value.fix
    assert sorted((place / "run").rglob("*")) == before


@pytest.mark.parametrize("change", ["an image less", "lr", "a config.yaml cut short"])
def test_forced_it_goes_on_and_its_model_says_so_for_ever(place, change, monkeypatch):
    warnings = []

    class Watch(Silence):
        def warned(self, text):
            warnings.append(text)

    make, says = CHANGES[change]
    make(place, monkeypatch)
    resume(place / "run", {"epochs": 2}, Watch(), force=True)
    assert any(re.search(says, each) for each in warnings)
    resume(place / "run", {"epochs": 3})
    written = json.loads((place / "run/model/model.json").read_text())["training"]
    last = json.loads((place / "run/checkpoints/step-00000009/state.json").read_text())
    assert re.search(says, " ".join(last["forced"]))
    assert written["epoch"] == 1 or re.search(says, " ".join(written["forced"]))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (("position", "epoch"), -1),
        (("position", "batch"), "two"),
        (("position", "best_scores"), [1]),
        (("world_size",), 0),
        (("identity", "threads"), 0.5),
        (("scaler",), {"scale": "big"}),
        (("command",), "rm"),
    ],
)
def test_a_state_of_another_kind_names_its_field(place, field, value):
    from segkit.storage import SEAL, checksum, sealed

    folder = place / "run/checkpoints/step-00000003"
    state = json.loads((folder / "state.json").read_text())
    inner = state
    for key in field[:-1]:
        inner = inner[key]
    inner[field[-1]] = value
    (folder / "state.json").write_text(json.dumps(state))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"]["state.json"] = checksum(folder / "state.json")
    del manifest[SEAL]
    (folder / "manifest.json").write_text(sealed(manifest))
    with pytest.raises(ModelFileError, match=r"state\.json, " + r"\.".join(field)) as caught:
        resume(place / "run")
    assert caught.value.code == "SK-M002"


def schedule(place, *more):
    options = ["--data", str(place / "data"), "--device", "cpu", "--workers", "0"]
    options += ["--encoder", "unet(depth=3, width=6)", "--decoder", "unet(dropout=0.2)"]
    options += ["--weights", "none", "--size", "16", "--batch", "4", "--set", "samples=0"]
    return CliRunner().invoke(
        segkit, ["train", "--resume-or-start", str(place / "again"), *options, *more]
    )


def test_a_scheduler_gives_one_line_again_and_again(place):
    first = schedule(place, "--epochs", "1")
    assert first.exit_code == 0, first.output
    second = schedule(place, "--epochs", "2")
    assert second.exit_code == 0, second.output
    assert "from epoch 2, step 4" in second.output
    assert "epochs is 2 and was 1" in second.output
    third = schedule(place, "--epochs", "2", "--lr", "0.5")
    assert isinstance(third.exception, UsageError)
    assert third.exception.code == "SK-C014" and "lr is to be 0.5 and was 0.001" in str(
        third.exception
    )
    assert not (place / "again-2").exists()


def test_a_scheduler_takes_what_an_early_stop_left_and_nothing_else(place):
    (place / "again").mkdir()
    (place / "again/.lock").touch()
    (place / "again/config.yaml.tmp-x").touch()
    assert schedule(place, "--epochs", "1").exit_code == 0
    assert (place / "again/model/model.json").is_file()
    shutil.rmtree(place / "again")
    (place / "again").mkdir()
    (place / "again/thesis.tex").touch()
    refused = schedule(place, "--epochs", "1")
    assert isinstance(refused.exception, UsageError)
    assert "again is no run, and holds thesis.tex" in str(refused.exception)


def test_force_alone_is_refused():
    result = CliRunner().invoke(segkit, ["train", "--force"])
    assert isinstance(result.exception, UsageError)
    assert "add --resume RUN" in str(result.exception)
