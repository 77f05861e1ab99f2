"""The page on exports: its commands and its program do what it says."""

import json
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import segkit
from segkit.cli.export_command import command
from segkit.cli.predict_command import command as predict

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.integration
PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    every = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [text for written_in, text in every if written_in == language]


def test_the_commands_and_the_program_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells" / "images").mkdir(parents=True)
    (tmp_path / "cells" / "masks").mkdir()
    for name in "ab":
        pixels_HWC = np.random.default_rng(ord(name)).integers(0, 256, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels_HWC).save(f"cells/images/{name}.png")
        Image.fromarray(pixels_HWC[..., 0] // 128).save(f"cells/masks/{name}.png")
    model = segkit.build_model("unet(depth=2, width=4)", num_classes=2)
    segkit.save_model(model, "runs/cells/model", classes=("ground", "cell"))
    lines = [line for block in blocks("") for line in block.splitlines()]
    exports = [shlex.split(line)[2:] for line in lines if line.startswith("segkit export")]
    *of_floats, of_bytes = exports
    assert len(of_floats) == 3
    for arguments in of_floats:
        done = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert "labels equal" in done.output
    # A model without a run does not know its data.
    given = [*of_bytes, "--data", "cells", "--split", "all", "--no-speed"]
    done = CliRunner().invoke(command, given, catch_exceptions=False)
    assert "in float32" in done.output and "in 8 bits: " in done.output
    record = json.loads(Path("runs/cells/model.int8.onnx.json").read_text())
    assert (record["images"], record["speed"]) == (2, None)
    assert set(record["iou"]) == {"ground", "cell"}
    with_onnxruntime, with_openvino = blocks("python")
    exec(with_onnxruntime, {})
    assert capsys.readouterr().out == "['ground', 'cell'] (1, 70, 90)\n"
    (predicts,) = (shlex.split(line)[2:] for line in lines if line.startswith("segkit predict"))
    CliRunner().invoke(predict, predicts, catch_exceptions=False)
    for image in ("masks/a.png", "masks/b.png"):
        assert Path("onnx-masks", image).is_file()
    if find_spec("openvino"):
        capsys.readouterr()
        exec(with_openvino, {})
        assert capsys.readouterr().out == "['logits'] (1, 2, 96, 128)\n"
