"""A model's name goes to the network only where it says so: hf:owner/name."""

import pytest

import segkit
from segkit.errors import ModelFileError


@pytest.fixture
def asked(monkeypatch):
    """What the hub was asked for; it gives nothing."""
    questions = []

    def refuse(name, **settings):
        questions.append((name, settings["local_files_only"]))
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return questions


@pytest.mark.parametrize("path", ["runs/cells", "owner/name", "./a/b", "/a/b", "a", "a/b/c"])
def test_a_path_that_is_not_there_asks_no_hub(asked, path):
    with pytest.raises(ModelFileError, match="does not exist"):
        segkit.load_model(path)
    assert asked == []


def test_who_left_out_the_prefix_is_told(asked):
    with pytest.raises(ModelFileError, match="is written hf:owner/name"):
        segkit.load_model("owner/name")


@pytest.mark.parametrize(("offline", "local_only"), [("", False), ("0", False), ("1", True)])
def test_the_prefix_asks_the_hub_unless_offline(asked, monkeypatch, offline, local_only):
    monkeypatch.setenv("SEGKIT_OFFLINE", offline)
    with pytest.raises(ModelFileError, match="did not give a model 'owner/name'") as caught:
        segkit.load_model("hf:owner/name")
    assert asked == [("owner/name", local_only)]
    assert ("SEGKIT_OFFLINE is set" in caught.value.what) == local_only


def test_what_the_hub_gives_is_loaded(tmp_path, monkeypatch):
    segkit.save_model(segkit.build_model("unet(depth=2, width=4)", num_classes=2), tmp_path / "m")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: str(tmp_path / "m"))
    assert segkit.load_model("hf:owner/name").record.num_classes == 2
