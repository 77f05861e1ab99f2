"""`segkit import` as it is typed."""

import json

import pytest
import torch
from click.testing import CliRunner

import segkit
from segkit.cli.import_command import command
from segkit.errors import UsageError


def state(depth=3, width=4, classes=2):
    """A U-Net of segkit, and its tensors under the names of milesial's form."""
    torch.manual_seed(0)
    model = segkit.build_model(
        f"unet(depth={depth}, width={width})", "unet", "transposed", num_classes=classes
    )
    tensors = {}
    for name, tensor in model.state_dict().items():
        parts = name.split(".")
        if parts[0] == "head":
            tensors[f"outc.conv.{parts[1]}"] = tensor
        elif parts[0] == "encoder":
            level, rest = int(parts[2]), ".".join(parts[3:])
            block = f"down{level}.maxpool_conv.1" if level else "inc"
            tensors[f"{block}.double_conv.{rest}"] = tensor
        else:
            step, rest = int(parts[2]) + 1, parts[3:]
            inner = (
                f"conv.double_conv.{'.'.join(rest[1:])}" if rest[0] == "block" else f"up.{rest[-1]}"
            )
            tensors[f"up{step}.{inner}"] = tensor
    return model.eval(), tensors


def run(*arguments):
    return CliRunner().invoke(
        command, list(map(str, arguments)), standalone_mode=False, catch_exceptions=False
    )


def test_a_checkpoint_becomes_a_model_folder_and_the_report_says_what_matched(tmp_path):
    model, tensors = state()
    torch.save(tensors | {"mask_values": [0, 1], "extra": torch.zeros(1)}, tmp_path / "unet.pth")
    out = tmp_path / "model"
    told = run(tmp_path / "unet.pth", "--out", out, "--classes", "ground, road").output
    assert "a U-Net in milesial's form: 3 levels, transposed convolutions" in told
    assert f"{len(tensors)} tensors taken over" in told
    assert "1 left out, such as extra: no part of such a U-Net" in told
    assert f"model folder: {out}" in told
    loaded = segkit.load_model(out)
    image_BCHW = torch.randn(1, 3, 17, 23)
    assert torch.equal(loaded(image_BCHW), model(image_BCHW))
    assert list(loaded.record.classes) == ["ground", "road"]
    assert loaded.record.training["imported"]["file"] == "unet.pth"
    assert len(loaded.record.training["imported"]["sha256"]) == 64


def test_the_report_comes_as_json_too(tmp_path):
    model, tensors = state()
    torch.save(tensors, tmp_path / "unet.pth")
    report = json.loads(run(tmp_path / "unet.pth", "--out", tmp_path / "model", "--json").stdout)
    assert report["encoder"] == "unet(depth=3, width=4)"
    assert report["matched"]["head.weight"] == "outc.conv.weight"
    assert report["tensors"] == len(model.state_dict())


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    _, tensors = state()
    torch.save(tensors, tmp_path / "unet.pth")
    with pytest.raises(UsageError, match="exists and is not empty") as caught:
        run(tmp_path / "unet.pth", "--out", tmp_path)
    assert caught.value.code == "SK-C012"


def test_the_wrong_number_of_classes_is_refused(tmp_path):
    _, tensors = state(classes=3)
    torch.save(tensors, tmp_path / "unet.pth")
    with pytest.raises(UsageError, match="names 2 classes, and the checkpoint has 3"):
        run(tmp_path / "unet.pth", "--out", tmp_path / "model", "--classes", "a,b")
    assert not (tmp_path / "model").exists()
