"""A folder for the pictures of a drawn set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from drawn_worlds import Pictures
from PIL import Image


@pytest.fixture
def folder(tmp_path) -> Callable[..., Path]:
    """folder(pictures, val=1): writes (image, mask) pairs, the last `val` for validation."""

    def write(pictures: Pictures, val: int = 1) -> Path:
        for number, (image, mask) in enumerate(pictures):
            split = "val" if number >= len(pictures) - val else "train"
            for kind, array in (("images", image), ("masks", mask)):
                (tmp_path / kind / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(tmp_path / kind / split / f"{number:03d}.png")
        return tmp_path

    return write
