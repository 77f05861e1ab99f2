"""A byte that changed on the disk is noticed, and the checkpoint before goes on bit by bit."""

from __future__ import annotations

import random
import shutil

import compared_runs as runs
import pytest

from segkit.config import layered, with_changes
from segkit.errors import ModelFileError, SegkitError, UsageError
from segkit.model.folder import load_model
from segkit.training.continuing import settings_changed
from segkit.training.monitoring.events import Silence
from segkit.training.resuming.run_state import read_resumed
from segkit.training.run.run_folder import RunFolder
from segkit.training.training import resume, train


class Warnings(Silence):
    def __init__(self):
        self.texts, self.decisions = [], []

    def warned(self, text):
        self.texts.append(text)

    def decided(self, lines):
        self.decisions += lines


@pytest.fixture(scope="module")
def whole(tiny_settings, tmp_path_factory):
    """A run of three epochs that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(layered(None, tiny_settings | {"epochs": 3, "samples": 0, "out": str(run)}))
    return run


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def files_of(run):
    """Those that a damage may hit: of the newest checkpoint, of the model, and the settings."""
    newest = RunFolder(run).checkpoints.steps()[-1]
    return [*sorted(newest.iterdir()), *sorted((run / "model").iterdir()), run / "config.yaml"]


def damaged(content: bytes, chance: random.Random) -> bytes:
    """With one bit turned, or cut short."""
    place = chance.randrange(len(content))
    if chance.random() < 0.5:
        return content[:place]
    return (
        content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]
    )


def is_noticed(run, file) -> bool:
    folder = RunFolder(run)
    if file.parent.name == "model":
        try:
            load_model(run)
        except ModelFileError:
            return True
        return False
    resumed = read_resumed(folder.checkpoints)
    if file.parent.name.startswith("step-"):
        return file.parent in resumed.damaged and resumed.folder != file.parent
    try:
        return settings_changed(folder, with_changes(file, {}), {}, resumed) != ([], [])
    except UsageError:
        return True


@pytest.mark.parametrize("damages", [30, pytest.param(200, marks=pytest.mark.integration)])
def test_every_flipped_bit_and_every_cut_is_noticed(run, damages):
    chance = random.Random(0)
    files = files_of(run)
    assert {each.name for each in files} >= {"manifest.json", "state.json", "model.json"}
    missed = []
    for number in range(damages):
        file = files[number % len(files)]
        content = file.read_bytes()
        file.write_bytes(damaged(content, chance))
        if not is_noticed(run, file):
            missed.append((number, file.name))
        file.write_bytes(content)
    assert missed == []


def test_the_count_of_damages_would_notice_one_that_passes(run):
    assert [file for file in files_of(run) if is_noticed(run, file)] == []


@pytest.mark.parametrize(
    "name", ["optimizer.safetensors", pytest.param("manifest.json", marks=pytest.mark.integration)]
)
def test_the_checkpoint_before_goes_on_bitwise_and_one_line_says_so(
    settings, interrupted, whole, tmp_path, name
):
    interrupted(settings(epochs=3, samples=0), after=8)
    before, newest = RunFolder(tmp_path / "run").checkpoints.steps()
    file = newest / name
    file.write_bytes(file.read_bytes()[:-1])
    watch = Warnings()
    resume(tmp_path / "run", events=watch)
    assert watch.texts == [
        f"THE CHECKPOINT {newest} IS DAMAGED ({name} is not the file that was written). It goes on "
        "from the one before, after step 3, as if the steps since then had never been."
    ]
    runs.assert_same(tmp_path / "run", whole)
    assert runs.logged(tmp_path / "run") == runs.logged(whole)
    assert (tmp_path / "run/model/model.safetensors").read_bytes() == (
        whole / "model/model.safetensors"
    ).read_bytes()
    assert before.name == "step-00000003"


def test_where_no_checkpoint_is_whole_each_is_named_and_nothing_is_touched(run):
    for folder in RunFolder(run).checkpoints.steps():
        (folder / "state.json").unlink()
    there = sorted(run.rglob("*"))
    with pytest.raises(ModelFileError) as caught:
        resume(run, {"epochs": 4})
    assert (caught.value.code, caught.value.exit_code) == ("SK-M002", 5)
    for step in (6, 9):
        assert f"step-{step:08d}: FileNotFoundError: " in caught.value.what
    assert f"segkit train --config {run}/config.yaml" in caught.value.fix
    assert sorted(run.rglob("*")) == there


def test_a_best_model_that_was_lost_is_said_and_the_next_takes_its_place(run):
    file = run / "model" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()  # the checkpoint's average may be the same file
    file.write_bytes(content)
    with pytest.raises(ModelFileError):
        load_model(run)
    watch = Warnings()
    assert resume(run, {"epochs": 4}, watch).best_epoch == 4
    assert "THE BEST SO FAR, IS LOST" in watch.texts[0]
    assert load_model(run).record.training["epoch"] == 4


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("epochs: 3", "epochs: [3", "cannot be read as a configuration"),
        ("lr: 0.001", "lr: 0.009", r"lr is 0.009 and was 0.001"),
    ],
)
def test_settings_that_were_damaged_come_with_the_command_that_repairs_them(run, old, new, says):
    file = run / "config.yaml"
    written = file.read_text()
    assert old in written
    file.write_text(written.replace(old, new))
    with pytest.raises(SegkitError, match=says) as caught:
        resume(run, {"workers": 0})
    copy = RunFolder(run).checkpoints.steps()[-1] / "config.yaml"
    assert caught.value.fix.endswith(f"As it was when it was last saved: cp {copy} {file}")
    shutil.copy(copy, file)
    assert resume(run).epochs == 3


def test_a_comment_that_changed_is_said(run):
    file = run / "config.yaml"
    file.write_text(file.read_text().replace("# ", "#  ", 1))
    watch = Warnings()
    resume(run, events=watch)
    assert ("changed", "the text of config.yaml, not what it sets") in watch.decisions


def test_a_model_file_that_was_edited_says_how_to_keep_the_edit(run):
    file = run / "model" / "model.json"
    file.write_text(file.read_text().replace('"precision": "fp32"', '"precision": "bf16"'))
    with pytest.raises(ModelFileError, match="take out its line sha256_of_this_file"):
        load_model(run)
    lines = [each for each in file.read_text().splitlines() if "sha256_of_this_file" not in each]
    file.write_text("\n".join(lines))
    load_model(run)
