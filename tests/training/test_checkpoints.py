"""Checkpoints: complete or absent, checked when read, the last two and the best kept."""

import errno
import json

import pytest
import torch
from torch import nn

from segkit.errors import ModelFileError, StorageError
from segkit.storage import new_folder, replace_text, storage_errors
from segkit.training.checkpoint.checkpoints import Checkpoint, CheckpointFolder
from segkit.training.checkpoint.state import optimizer_tensors, restore_optimizer


def checkpoint(value):
    return Checkpoint({"model": {"weight": torch.tensor([value])}}, {"position": value})


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def test_the_last_two_and_the_best_are_kept(tmp_path):
    checkpoints = CheckpointFolder(tmp_path)
    for step in (1, 2, 3, 4, 5):
        checkpoints.save(step, checkpoint(step), best=step == 2)
    assert names(tmp_path) == ["best", "last", "step-00000002", "step-00000004", "step-00000005"]
    assert checkpoints.load().state["position"] == 5
    assert checkpoints.load("best").state["position"] == 2


def test_only_safetensors_and_json_are_written(tmp_path):
    CheckpointFolder(tmp_path).save(1, checkpoint(1))
    kinds = {file.suffix for file in (tmp_path / "step-00000001").iterdir()}
    assert kinds == {".safetensors", ".json"}


def test_a_changed_byte_is_noticed(tmp_path):
    file = CheckpointFolder(tmp_path).save(1, checkpoint(1)) / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        CheckpointFolder(tmp_path).load()
    assert "model.safetensors is not the file that was written" in str(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "manifest.json"])
def test_a_missing_file_is_a_damaged_checkpoint(tmp_path, name):
    (CheckpointFolder(tmp_path).save(1, checkpoint(1)) / name).unlink()
    with pytest.raises(ModelFileError) as caught:
        CheckpointFolder(tmp_path).load()
    assert caught.value.code == "SK-M002"


def test_a_manifest_cannot_name_files_elsewhere(tmp_path):
    manifest = CheckpointFolder(tmp_path).save(1, checkpoint(1)) / "manifest.json"
    content = json.loads(manifest.read_text())
    content["sha256"]["../last"] = "0"
    manifest.write_text(json.dumps(content))
    with pytest.raises(ModelFileError, match=r"\.\./last is not the file"):
        CheckpointFolder(tmp_path).load()


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    checkpoints = CheckpointFolder(tmp_path)
    checkpoints.save(1, checkpoint(1))
    with pytest.raises(ValueError, match="not JSON compliant"):
        checkpoints.save(2, Checkpoint(checkpoint(2).tensors, {"loss": float("nan")}))
    assert names(tmp_path) == ["last", "step-00000001"]
    assert checkpoints.load().state["position"] == 1


def test_a_folder_is_replaced_whole(tmp_path):
    folder = tmp_path / "model"
    for text in ("old", "new"):
        with new_folder(folder) as work:
            (work / "file").write_text(text)
    assert (folder / "file").read_text() == "new"
    assert names(tmp_path) == ["model"]


def test_a_small_file_is_replaced_whole(tmp_path):
    for text in ("old", "new"):
        replace_text(tmp_path / "last", text)
    assert (tmp_path / "last").read_text() == "new"
    assert names(tmp_path) == ["last"]


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (errno.ENOSPC, "SK-S001", "is full"),
        (errno.EROFS, "SK-S002", "cannot be written"),
        (errno.EACCES, "SK-S002", "cannot be written"),
    ],
)
def test_what_a_disk_refuses_has_a_name(tmp_path, number, code, says):
    with pytest.raises(StorageError) as caught, storage_errors(tmp_path / "model"):
        raise OSError(number, "refused")
    assert caught.value.code == code
    assert f"{tmp_path / 'model'} {says}" in caught.value.what or says in caught.value.what
    assert caught.value.exit_code == 8


@pytest.mark.parametrize("fused", [False, True])
def test_an_optimizer_restored_goes_on_bitwise(fused):
    def built():
        torch.manual_seed(0)
        model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        return model, torch.optim.AdamW(model.parameters(), fused=fused)

    def step(model, optimizer, seed):
        torch.manual_seed(seed)
        optimizer.zero_grad()
        model(torch.randn(2, 3, 8, 8)).square().sum().backward()
        optimizer.step()

    model, optimizer = built()
    step(model, optimizer, 1)
    saved = {name: t.clone() for name, t in optimizer_tensors(optimizer, model).items()}
    again, restored = built()
    again.load_state_dict(model.state_dict())
    # As a file holds it: contiguous, whatever the layout was.
    restore_optimizer(restored, again, {name: t.contiguous() for name, t in saved.items()})
    step(model, optimizer, 2)
    step(again, restored, 2)
    assert torch.equal(model.weight, again.weight)
