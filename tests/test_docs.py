"""The pages below docs/: their commands end well and their programs run, beside a small run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
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
    numbered = numbered_cells(root / "cells")
    train(
        layered(
            None,
            tiny_settings
            | {"out": str(root / "runs" / "objects"), "epochs": 1, "data": str(numbered)}
            | {"separate": "distance"},
        )
    )
    (root / "runs" / "other").symlink_to(root / "runs" / "cells")
    (root / "DIR").symlink_to(tiny_folder)
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for name in ("new.png", "photos/a.png", "photos/b.png", "scans/c.tif"):
        (root / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels_HWC).save(root / name)
    with tifffile.TiffWriter(root / "slide.ome.tif", ome=True) as writer:
        writer.write(pixels_HWC, subifds=2, photometric="rgb", tile=(16, 16))
        for step in (2, 4):
            smaller_HWC = np.ascontiguousarray(pixels_HWC[::step, ::step])
            writer.write(smaller_HWC, subfiletype=1, photometric="rgb", tile=(16, 16))
    return root


def numbered_cells(root: Path) -> Path:
    """Six pictures of four squares, two of which touch, with masks that number them."""
    random = np.random.default_rng(1)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for count in range(6):
        number_HW = np.zeros((48, 48), np.uint8)
        for number, (top, left) in enumerate([(4, 4), (4, 14), (28, 6), (30, 30)], 1):
            number_HW[top : top + 10, left + count : left + count + 10] = number
        noise_HW = random.integers(0, 60, number_HW.shape)
        image_HW = np.where(number_HW > 0, 180, 40) + noise_HW
        Image.fromarray(image_HW.astype(np.uint8)).save(root / f"images/{count}.png")
        Image.fromarray(number_HW).save(root / f"masks/{count}.png")
    return root


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for named, block in found if named == language]


def commands(page: str) -> list[str]:
    lines = [line for block in blocks(page, "") for line in block.splitlines()]
    return [line for line in lines if line.startswith("segkit ")]


PAGES = (
    *("answers.md", "evaluate.md", "launch.md", "objects.md", "predict.md", "recipes.md"),
    "share.md",
)
# A training of the pages is as small as the fixture's.
NETWORK = '--encoder "unet(depth=2, width=4)" --decoder unet'
TRAINING = ("segkit train", "segkit sweep")
SMALL = f"{NETWORK} --epochs 1 --batch 2 --size 32 --workers 0"


@pytest.mark.parametrize("line", [line for page in PAGES for line in commands(page)])
def test_a_command_ends_well(forked, place, tmp_path, line):
    small = f"{line} {SMALL}" if line.startswith(TRAINING) else line
    # What is merged is predicted first.
    before = [line.replace("--merge", "--shard 1/1")] if "--merge" in line else []
    for each in [*before, small]:
        words = shlex.split(re.sub(r"--out \S+", f"--out {tmp_path / 'out'}", each))
        ran = forked.run(words, cwd=place)
        assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("program", blocks("answers.md", "python"))
def test_a_program_runs(place, monkeypatch, program):
    monkeypatch.chdir(place)
    exec(program, {})
    assert (place / "answer" / "mask.png").is_file()


def test_the_pages_have_commands_to_run():
    assert all(commands(page) for page in PAGES)
