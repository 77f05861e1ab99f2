"""`segkit data download` as a user meets it, without a network."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.cli.main import main

FACTORIES = ("camvid", "cityscapes", "ctc", "dsb2018", "isbi2012", "oxford-iiit-pet", "voc2012")


@pytest.fixture
def segkit(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """segkit("data", ...) in an empty folder: (exit status, output, error output)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, error = capsys.readouterr()
        return int(ended.value.code or 0), out, error

    return run


def picture(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, format="PNG")
    return file.getvalue()


def write_nuclei(file: Path, count: int = 10) -> None:
    """stage1_train.zip as the Data Science Bowl publishes it."""
    file.parent.mkdir(parents=True)
    nucleus = np.zeros((32, 32), np.uint8)
    nucleus[8:16, 8:16] = 255
    with zipfile.ZipFile(file, "w") as packed:
        for number in range(count):
            image = np.random.default_rng(number).integers(0, 256, (32, 32, 4), dtype=np.uint8)
            packed.writestr(f"{number}/images/{number}.png", picture(image))
            packed.writestr(f"{number}/masks/a.png", picture(nucleus))


def test_without_a_name_all_are_listed_with_their_terms(segkit):
    status, out, _ = segkit("data", "download")
    assert status == 0
    names = [line.split()[0] for line in out.splitlines()]
    assert names == ["name", *FACTORIES]
    assert "CC0 1.0" in out


def test_archives_fetched_by_hand_become_a_set_to_train_on(segkit, tmp_path):
    write_nuclei(tmp_path / "fetched" / "stage1_train.zip")
    status, out, error = segkit("data", "download", "dsb2018", "--from", "fetched")
    assert (status, error) == (0, "segkit data download: loading PyTorch ...\n")
    assert "(no checksum is published)" in out
    assert "20 files in dsb2018. Licence: CC0 1.0." in out
    assert out.splitlines()[-1] == "segkit train --dataset dsb2018 --data dsb2018"
    record = json.loads((tmp_path / "dsb2018" / "segkit-download.json").read_text())
    assert record["dataset"] == "dsb2018"


def test_another_archive_than_the_published_one_is_refused(segkit, tmp_path):
    write_nuclei(tmp_path / "fetched" / "images.tar.gz")
    status, _, error = segkit("data", "download", "oxford-iiit-pet", "--from", "fetched")
    assert status == 4
    assert "SK-D026: images.tar.gz" in error
    assert "not 5c4f3ee8e5d25df40f4fd59a7f44e54c" in error
    assert not (tmp_path / "oxford-iiit-pet").exists()


def test_a_set_that_is_not_passed_on_is_answered_with_the_way_to_it(segkit):
    status, _, error = segkit("data", "download", "cityscapes")
    assert status == 3
    assert "Register at https://www.cityscapes-dataset.com" in error


def test_a_mistyped_name_is_answered_with_the_nearest(segkit):
    status, _, error = segkit("data", "download", "camvd")
    assert status == 2
    assert "Did you mean 'camvid'?" in error
