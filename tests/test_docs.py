"""The pages below docs/: their commands end well and their programs run, beside a small run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.training.training import train

pytestmark = pytest.mark.integration
DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_settings, tiny_folder) -> Path:
    """A folder as the pages suppose it: runs/cells and its copy runs/other, images, and DIR/."""
    from segkit.config import layered

    root = tmp_path_factory.mktemp("place")
    changes = {"out": str(root / "runs" / "cells"), "epochs": 1}
    train(layered(None, tiny_settings | changes))
    (root / "runs" / "other").symlink_to(root / "runs" / "cells")
    (root / "DIR").symlink_to(tiny_folder)
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for name in ("new.png", "photos/a.png", "photos/b.png", "scans/c.tif"):
        (root / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels_HWC).save(root / name)
    return root


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for named, block in found if named == language]


def commands(page: str) -> list[str]:
    lines = [line for block in blocks(page, "") for line in block.splitlines()]
    return [line for line in lines if line.startswith("segkit ")]


PAGES = ("answers.md", "evaluate.md", "predict.md")


@pytest.mark.parametrize("line", [line for page in PAGES for line in commands(page)])
def test_a_command_ends_well(place, tmp_path, line):
    words = shlex.split(re.sub(r"--out \S+", f"--out {tmp_path / 'out'}", line))
    ran = subprocess.run(
        [sys.executable, "-m", *words], cwd=place, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("program", blocks("answers.md", "python"))
def test_a_program_runs(place, monkeypatch, program):
    monkeypatch.chdir(place)
    exec(program, {})
    assert (place / "answer" / "mask.png").is_file()


def test_the_pages_have_commands_to_run():
    assert all(len(commands(page)) >= 3 for page in PAGES)
