"""A data set of a plugin, by name: opened, trained on and scored as any folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segkit.cli.main import main
from segkit.config import TrainConfig, read_config
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import DataError, UsageError
from segkit.interfaces import Sample
from segkit.registry.components import Registry
from segkit.registry.index import Entry, Index

QUICK = ["--encoder", "unet(depth=2, width=4)", "--weights", "none", "--epochs", "1"]
QUICK += ["--batch", "2", "--size", "16", "--workers", "0", "--device", "cpu"]


class Drawn:
    """Two images a split, of the channels and depths asked for; test is kept back.

    depth   of the images
    level   value of the first image, one less than that of the second
    mixed   whether the second image is RGBA and the first grey
    """

    classes = ("ground", "thing")
    palette = ((0, 0, 0), (255, 0, 0))
    ignore_index = 9

    def __init__(
        self,
        root: Path,
        split: str,
        *,
        depth: str = "uint8",
        level: int = 100,
        mixed: bool = True,
    ) -> None:
        if split == "test":
            raise DataError("SK-D001", "test is kept back.", "")
        self.split, self.depth, self.level = split, depth, level
        self.channels = (1, 4) if mixed else (1, 1)

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        if index >= 2:
            raise IndexError(index)
        mask_HW = np.zeros((40, 70), np.int64)
        mask_HW[:, 35:] = 1
        image_HWC = np.full((40, 70, self.channels[index]), self.level + index).astype(self.depth)
        return Sample(image_HWC, mask_HW, f"{self.split}-{index}", mask_HW * 7)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    entry = Entry("datasets", "drawn", "nowhere", "segkit-nowhere", "1.0")
    found = Registry(Index([entry]))
    monkeypatch.setattr(found, "factory", lambda *_: Drawn)
    return found


def test_a_split_that_is_not_there_is_told_and_the_others_serve(registry, tmp_path):
    data = open_data(tmp_path, DataOptions(dataset="drawn"), registry=registry)
    assert data.splits == ("train", "val")
    assert "No split test: test is kept back." in data.notes
    with pytest.raises(UsageError, match="SK-D010: the data set has no split 'test'"):
        data.split("test")


def test_grey_and_rgba_images_come_out_with_three_channels(registry, tmp_path):
    data = open_data(tmp_path, DataOptions(dataset="drawn"), registry=registry)
    assert data.in_channels == 3
    assert [sample.image.shape for sample in data.split("val")] == [(40, 70, 3)] * 2


def test_the_channels_wanted_are_given(registry, tmp_path):
    data = open_data(tmp_path, DataOptions(dataset="drawn", in_channels=1), registry=registry)
    assert data.split("train")[1].image.shape == (40, 70, 1)


def test_masks_objects_and_ids_pass_unchanged(registry, tmp_path):
    given = open_data(tmp_path, DataOptions(dataset="drawn"), registry=registry).split("train")[0]
    stored = Drawn(tmp_path, "train")[0]
    assert np.array_equal(given.mask, stored.mask)
    assert np.array_equal(given.instances, stored.instances)
    assert given.id == stored.id


@pytest.mark.parametrize(
    ("depth", "level", "white"),
    [
        ("uint8", 3, 255),
        ("uint16", 300, 1023),
        ("uint16", 60000, 65535),
        ("float32", 0, 1),
        ("float32", 200, 255),
    ],
)
def test_white_is_that_of_the_depth(registry, tmp_path, depth, level, white):
    written = f"drawn(depth={depth}, level={level}, mixed=false)"
    data = open_data(tmp_path, DataOptions(dataset=written), registry=registry)
    assert (data.full_scale, data.in_channels) == (white, 1)


def test_all_is_every_split_once(registry, tmp_path):
    every = open_data(tmp_path, DataOptions(dataset="drawn"), registry=registry).split("all")
    assert [sample.id for sample in every] == ["train-0", "train-1", "val-0", "val-1"]


def test_a_crop_fits_the_images(registry, tmp_path):
    assert open_data(tmp_path, DataOptions(dataset="drawn"), registry=registry).default_size == 32


def test_a_model_of_other_classes_is_refused(registry, tmp_path):
    with pytest.raises(UsageError, match="SK-C009: the model tells 5 classes apart, and drawn has"):
        open_data(tmp_path, DataOptions(dataset="drawn", num_classes=5), registry=registry)


def test_a_name_without_a_folder_is_answered_with_the_way_to_it(registry):
    with pytest.raises(UsageError) as caught:
        open_data(None, DataOptions(dataset="drawn"), registry=registry)
    assert caught.value.what == "--dataset drawn needs the folder where it lies."
    assert "`segkit data download drawn`" in caught.value.fix


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Two videos in the structure of the Cell Tracking Challenge."""
    import tifffile

    root = tmp_path / "cells"
    generator = np.random.default_rng(0)
    for video in ("01", "02"):
        (root / video).mkdir(parents=True)
        (root / f"{video}_GT" / "SEG").mkdir(parents=True)
        for frame in range(3):
            mask_HW = np.zeros((32, 32), np.uint16)
            mask_HW[8:20, 8:20] = 5
            image_HW = generator.integers(0, 256, (32, 32), dtype=np.uint8)
            tifffile.imwrite(root / video / f"t{frame:03d}.tif", image_HW)
            tifffile.imwrite(root / f"{video}_GT" / "SEG" / f"man_seg{frame:03d}.tif", mask_HW)
    return root


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_a_published_set_trains_and_scores_by_name(cells, tmp_path, capsys):
    out = str(tmp_path / "run")
    named = ["--dataset", "ctc(val=1)", "--data", str(cells)]
    assert run("train", *QUICK, *named, "--out", out) == 0
    config: TrainConfig = read_config(tmp_path / "run" / "config.yaml")
    assert (config.dataset, config.data) == ("ctc(val=1)", str(cells))
    assert config.in_channels == 1
    capsys.readouterr()
    assert run("evaluate", out, "--workers", "0") == 0
    assert "on 3 images" in capsys.readouterr().out
    assert run("evaluate", out, *named, "--split", "all", "--workers", "0") == 0
    assert "on 6 images" in capsys.readouterr().out
    assert run("train", "--config", f"{out}/config.yaml", "--dry-run") == 0


def test_what_a_published_set_says_itself_cannot_be_said_otherwise(cells, capsys):
    named = ["--dataset", "ctc", "--data", str(cells)]
    assert run("train", *QUICK, *named, "--ignore-index", "3", "--dry-run") == 2
    assert "--ignore-index cannot be chosen for ctc" in capsys.readouterr().err
    assert run("train", *QUICK, *named, "--instances", "foreground", "--dry-run") == 2
    assert "--instances cannot be chosen for ctc" in capsys.readouterr().err


def test_a_mistyped_set_is_refused_with_the_nearest(cells, capsys):
    assert run("train", *QUICK, "--dataset", "ctcc", "--data", str(cells), "--dry-run") == 2
    assert "Did you mean 'ctc'?" in capsys.readouterr().err
