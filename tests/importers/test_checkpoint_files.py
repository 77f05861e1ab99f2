"""What is read of a checkpoint's file, and what is refused unread."""

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

from segkit.errors import ModelFileError, UsageError
from segkit.importers.checkpoint import read_checkpoint
from segkit.importers.importing import import_checkpoint
from segkit.importers.naming import nested_in

TENSORS = {"a.weight": torch.arange(3.0), "a.bias": torch.ones(2)}


@pytest.mark.parametrize("prefix", ["", "module.", "model.module.", "_orig_mod."])
@pytest.mark.parametrize("nest", [None, "state_dict", "model_state_dict", "model"])
def test_tensors_are_found_inside_what_training_scripts_wrap_them_in(tmp_path, prefix, nest):
    content = {prefix + key: tensor for key, tensor in TENSORS.items()}
    torch.save({nest: content, "epoch": 3} if nest else content, tmp_path / "x.pth")
    read = read_checkpoint(tmp_path / "x.pth")
    assert read.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(read.tensors[key], TENSORS[key]) for key in TENSORS)
    assert read.left_out == (("epoch",) if nest else ())


def test_a_folder_gives_its_config_too(tmp_path):
    save_file(TENSORS, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"encoder_name": "x"}))
    read = read_checkpoint(tmp_path)
    assert read.config == {"encoder_name": "x"}
    assert read.tensors.keys() == TENSORS.keys()


def test_code_in_a_pickle_is_never_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "written"), "w")

    torch.save({"a.weight": torch.zeros(1), "evil": Evil()}, tmp_path / "new.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"evil": Evil()}))
    for name in ("new.pth", "plain.pth"):
        with pytest.raises(ModelFileError) as caught:
            read_checkpoint(tmp_path / name)
        assert caught.value.code == "SK-M005"
    assert "holds more than tensors: code or objects" in str(caught.value)
    assert not (tmp_path / "written").exists()


def test_a_whole_pickled_network_is_refused_with_the_way_out(tmp_path):
    torch.save(torch.nn.Linear(1, 1), tmp_path / "x.pt")
    with pytest.raises(ModelFileError) as caught:
        read_checkpoint(tmp_path / "x.pt")
    assert "segkit never loads" in caught.value.what
    assert "torch.save(model.state_dict(), 'weights.pth')" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.pth", b""), ("x.pth", b"not a checkpoint"), ("x.safetensors", b"\xff" * 40)],
)
def test_damaged_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        read_checkpoint(tmp_path / name)
    assert caught.value.code == "SK-M005"
    assert str(tmp_path / name) in caught.value.what


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3}, torch.zeros(2)])
def test_a_file_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ModelFileError, match="it holds no tensors by name"):
        read_checkpoint(tmp_path / "x.pth")


def test_a_missing_file_is_the_users_mistake(tmp_path):
    with pytest.raises(UsageError, match="there is no such file"):
        read_checkpoint(tmp_path / "nowhere.pth")


def test_a_checkpoint_of_no_known_kind_is_refused_with_what_it_holds(tmp_path):
    torch.save(TENSORS, tmp_path / "x.pth")
    with pytest.raises(ModelFileError) as caught:
        import_checkpoint(tmp_path / "x.pth")
    assert caught.value.code == "SK-M006"
    assert "is of no kind that segkit imports; its tensors begin with" in caught.value.what
    assert "segkit imports smp, torchvision, milesial." in caught.value.fix
    with pytest.raises(ModelFileError, match="does not look like a checkpoint of torchvision"):
        import_checkpoint(tmp_path / "x.pth", "torchvision")


def test_the_place_of_a_network_inside_a_plugins_module_is_found():
    theirs = ["conv1.weight", "layer1.0.weight"]
    assert nested_in(theirs, theirs) == ""
    assert nested_in([f"network.{name}" for name in theirs], theirs) == "network."
    assert nested_in([f"a.b.{name}" for name in (*theirs, "new.bias")], theirs) == "a.b."
    assert nested_in(["other.weight"], theirs) is None
