"""Checkpoints: complete or absent, checked when read, the last two kept."""

import errno
import json
import re
import threading
from dataclasses import replace

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from segkit import storage
from segkit.errors import ModelFileError, StorageError
from segkit.model.compose import build_model
from segkit.model.folder import load_model, save_model
from segkit.storage import SEAL, new_folder, replace_text, sealed, storage_errors, sweep
from segkit.training.checkpoint.checkpoints import Checkpoint, CheckpointFolder
from segkit.training.checkpoint.state import optimizer_tensors, restore_optimizer


def checkpoint(value):
    return Checkpoint({"model": {"weight": torch.tensor([value])}}, {"position": value})


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def test_the_last_two_are_kept(tmp_path):
    checkpoints = CheckpointFolder(tmp_path)
    for step in (1, 2, 3, 4, 5):
        checkpoints.save(step, checkpoint(step))
    assert names(tmp_path) == ["step-00000004", "step-00000005"]
    assert checkpoints.load().state["position"] == 5


def test_an_average_that_the_model_holds_too_takes_no_room_again(tmp_path):
    average = {"average": {"weight": torch.arange(9.0)}}
    (tmp_path / "model").mkdir()
    file = tmp_path / "model/model.safetensors"
    save_file(average["average"], file)
    checkpoints = CheckpointFolder(tmp_path / "checkpoints")
    same = checkpoints.save(1, Checkpoint(average, {}), tmp_path / "model")
    assert (same / "average.safetensors").samefile(file)
    other = Checkpoint({"average": {"weight": torch.ones(9)}}, {})
    new = checkpoints.save(2, other, tmp_path / "model") / "average.safetensors"
    assert not new.samefile(file)
    assert checkpoints.load().tensors["average"]["weight"].tolist() == [1.0] * 9
    assert torch.equal(load_file(file)["weight"], torch.arange(9.0))


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
    del content[SEAL]
    manifest.write_text(sealed(content))
    with pytest.raises(ModelFileError, match=r"\.\./last is not the file"):
        CheckpointFolder(tmp_path).load()


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    checkpoints = CheckpointFolder(tmp_path)
    checkpoints.save(1, checkpoint(1))
    with pytest.raises(ValueError, match="not JSON compliant"):
        checkpoints.save(2, Checkpoint(checkpoint(2).tensors, {"loss": float("nan")}))
    assert names(tmp_path) == ["step-00000001"]
    assert checkpoints.load().state["position"] == 1


def test_a_folder_is_replaced_whole(tmp_path):
    folder = tmp_path / "model"
    for text in ("old", "new"):
        with new_folder(folder) as work:
            (work / "file").write_text(text)
    assert (folder / "file").read_text() == "new"
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("system", ["exchanges", "renames"])
def test_a_reader_finds_a_whole_model_at_any_instant(tmp_path, monkeypatch, system):
    """Where a disk cannot exchange two folders, the reader waits for the second rename."""
    if system == "renames":
        monkeypatch.setattr(storage, "_exchange", lambda one, other: False)
    model = build_model(
        "unet(depth=2, width=2)", "unet", "bilinear", num_classes=2, in_channels=1, weights="none"
    )
    save_model(model, tmp_path / "model")
    found, ended = [], threading.Event()

    def read():
        while not ended.is_set():
            try:
                found.append(load_model(tmp_path / "model").record.num_classes)
            except Exception as error:
                found.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(60):
        model.record = replace(model.record, training={"epoch": number})
        save_model(model, tmp_path / "model")
    ended.set()
    reader.join()
    assert found
    assert set(map(str, found)) == {"2"}
    assert names(tmp_path) == ["model"]


def test_a_folder_that_was_being_replaced_gets_its_name_back(tmp_path):
    (tmp_path / "model.tmp-a-old").mkdir()
    (tmp_path / "model.tmp-a").mkdir()
    (tmp_path / "step-1.tmp-gone").mkdir()
    sweep(tmp_path)
    assert names(tmp_path) == ["model"]


def test_a_small_file_is_replaced_whole(tmp_path):
    for text in ("old", "new"):
        replace_text(tmp_path / "last", text)
    assert (tmp_path / "last").read_text() == "new"
    assert names(tmp_path) == ["last"]


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (errno.ENOSPC, "SK-S001", r"is full \([\d,]+ bytes are free, 1,234,567 are needed\)"),
        (errno.EFBIG, "SK-S001", r"than the system allows .*, and 1,234,567 bytes are to be"),
        (errno.EROFS, "SK-S002", r"cannot be written: its disk is mounted for reading only"),
        (errno.ENOENT, "SK-S002", r"of the folders that lead there only .* is left"),
        (errno.EACCES, "SK-S002", r"refused.*\)\.\s+Give a folder you may write to with --out\."),
        (errno.EISDIR, "SK-S002", r"refused.*\)\.\s+Move away the folder of that name"),
        (errno.EIO, "SK-S002", r"refused.*\)\.\s+Look whether the disk is well"),
    ],
)
@pytest.mark.parametrize("writer", ["the system", "safetensors"])
def test_what_a_disk_refuses_has_a_name(tmp_path, number, code, says, writer):
    error = OSError(number, "refused")
    if writer == "safetensors":
        error = SafetensorError(f"I/O error: refused (os error {number})")
    with pytest.raises(StorageError) as caught, storage_errors(tmp_path, 1234567):
        raise error
    assert re.search(says, str(caught.value))
    assert caught.value.code == code
    assert str(tmp_path) in caught.value.what
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
