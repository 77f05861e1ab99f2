"""The page on exports: its commands and its program do what it says."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import segkit
from segkit.cli.export_command import command

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.integration
PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_commands_and_the_program_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells" / "images").mkdir(parents=True)
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels_HWC).save("cells/images/a.png")
    model = segkit.build_model("unet(depth=2, width=4)", num_classes=2)
    segkit.save_model(model, "runs/cells/model", classes=("ground", "cell"))
    lines = [line for block in blocks("") for line in block.splitlines()]
    exports = [shlex.split(line)[2:] for line in lines if line.startswith("segkit export")]
    assert len(exports) == 2
    for arguments in exports:
        done = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert "labels equal" in done.output
    (program,) = blocks("python")
    exec(program, {})
    assert capsys.readouterr().out == "['ground', 'cell'] (1, 70, 90)\n"
