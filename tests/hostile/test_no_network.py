"""Only downloads, `hf:owner/name` and published weights ask the network; here it is blocked."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from segkit.cli.main import segkit
from segkit.errors import ModelFileError


@pytest.fixture
def asked(monkeypatch):
    """Every address that was asked for, and none is reached."""
    places = []

    def refuse(*arguments, **_):
        places.append(arguments)
        raise OSError("the network is blocked in this test")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    return places


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from segkit.model.compose import build_model
    from segkit.model.folder import save_model

    built = build_model("unet(depth=2, width=4)", "unet", num_classes=3, weights="none")
    return save_model(built, tmp_path_factory.mktemp("sound") / "model", classes=("a", "b", "c"))


TRAINING = (
    "train --data {data} --encoder unet(depth=2,width=4) --decoder unet --weights none --epochs 1 "
    "--size 16 --device cpu --workers 0 --set samples=0 --out {out}/run"
)
COMMANDS = (
    TRAINING,
    TRAINING.replace("--epochs 1", "--dry-run"),
    "predict {model} {data}/images/val --out {out}/predicted",
    "evaluate {model} --data {data}",
    "data check {data}",
    "data stats {data}",
    "list",
    "info encoder unet",
    "plugins",
    "doctor",
    "explain SK-D012",
    "plan --encoder unet(depth=2,width=4)",
    "new-plugin loss mine --out {out}/plugin",
)


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: " ".join(line.split()[:2]))
def test_a_command_asks_no_network(line, asked, model, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {"data": tiny_folder, "model": model, "out": tmp_path}
    result = CliRunner().invoke(segkit, [word.format(**places) for word in line.split()])
    assert asked == []
    assert result.exit_code == 0, (result.output, result.exception)


@pytest.mark.parametrize("name", ["owner/name", "runs/none", "./owner/name"])
def test_a_name_without_its_prefix_is_a_path(name, asked, tiny_folder, tmp_path):
    image = str(next(Path(tiny_folder).glob("images/val/*.png")))
    result = CliRunner().invoke(segkit, ["predict", name, image, "--out", str(tmp_path)])
    assert isinstance(result.exception, ModelFileError)
    assert asked == []


def test_the_block_would_be_noticed(asked):
    with pytest.raises(OSError, match="the network is blocked"):
        socket.create_connection(("example.org", 443))
    assert len(asked) == 1
