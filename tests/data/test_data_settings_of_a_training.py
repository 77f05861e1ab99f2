"""What a training's settings do to its data: crops, boundaries and the cache of pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segkit.cli.main import main
from segkit.config import TrainConfig
from segkit.training.preparation.opening import opened

MakeSet = Callable[..., Path]
CELLS = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3), np.ones((32, 24), np.uint8))


@pytest.fixture
def cells(make_set: MakeSet) -> str:
    return str(make_set(dict.fromkeys("abcdef", CELLS)))


def test_a_training_keeps_pixels_unless_told_not_to(cells: str, own_cache: Path):
    # Six images, and one mask that all of them share.
    for cache, files in (("off", 0), ("auto", 6 + 1)):
        data = opened(TrainConfig(data=cells, instances="foreground", cache=cache))
        for index in range(6):
            data.split("all")[index]
        assert len([p for p in (own_cache / "pixels").rglob("*") if p.is_file()]) == files


def test_a_training_can_learn_boundaries(cells: str):
    data = opened(TrainConfig(data=cells, instances="boundary"))
    assert data.classes == ("background", "foreground", "boundary")


def test_the_command_takes_crops_and_boundaries_and_says_where_pixels_are_kept(
    cells: str, own_cache: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as end:
        chosen = ["--instances", "boundary", "--crops", "classes", "--weights", "none"]
        main(["train", "--data", cells, *chosen, "--device", "cpu", "--dry-run"])
    told = capsys.readouterr().out
    assert end.value.code == 0, told
    assert "background, foreground, boundary" in told
    assert f"Decoded pixels are cached in {own_cache / 'pixels'}: 111 kB." in told


def test_crops_of_another_word_are_refused(cells: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        main(["train", "--data", cells, "--set", "crops=corners"])
    assert end.value.code == 2
    assert "'crops' cannot be 'corners'" in capsys.readouterr().err
