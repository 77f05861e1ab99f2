"""Makes small data sets on disk; finds the real ones where SEGKIT_TEST_DATA names their folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeSet = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keeps what is remembered about files out of the user's cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SEGKIT_CACHE", str(folder))
    return folder


@pytest.fixture
def make_set(tmp_path: Path) -> MakeSet:
    """make_set({"a": mask_HW, ...}) writes images/a.png and masks/a.png; returns the folder."""

    def make(
        masks: Mapping[str, np.ndarray],
        images: Mapping[str, np.ndarray] | None = None,
        yaml: str = "",
        folder: str = "set",
    ) -> Path:
        root = tmp_path / folder
        for name, mask in masks.items():
            image = (images or {}).get(name)
            if image is None:
                image = np.random.default_rng(len(name) + sum(map(ord, name))).integers(
                    0, 256, (*mask.shape[:2], 3), dtype=np.uint8
                )
            for part, array in (("images", image), ("masks", mask)):
                path = root / part / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
        if yaml:
            (root / "data.yaml").write_text(yaml, encoding="utf-8")
        return root

    return make


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real sets; skips where there is none."""
    folder = os.environ.get("SEGKIT_TEST_DATA")
    if not folder:
        pytest.skip("SEGKIT_TEST_DATA names no folder of real data")
    return Path(folder)
