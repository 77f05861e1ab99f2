"""A set by name is looked at before training, remembered, and kept decoded, as folders are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from segkit.cli.main import main
from segkit.data.loader import EvaluationLoader, TrainingLoader
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import DataError, SegkitError, UsageError
from segkit.interfaces import Sample
from segkit.registry.components import Registry
from segkit.registry.index import Entry, Index

Make = Callable[[int, str], Sample]
READ: list[str] = []


def usual(index: int, split: str) -> Sample:
    rng = np.random.default_rng([index, len(split)])
    mask_HW = rng.integers(0, 2, (40, 48 + 8 * (index % 2)))
    mask_HW[:3] = 9
    image_HWC = rng.integers(0, 256, (*mask_HW.shape, 3), np.uint8)
    return Sample(image_HWC, mask_HW, f"{split}-{index}", mask_HW * 300)


class Made:
    """Samples made by `make`; READ lists those that were asked for."""

    classes = ("ground", "thing")
    palette = ((0, 0, 0), (255, 0, 0))
    ignore_index = 9
    splits = ("train", "val")
    make: Make = staticmethod(usual)
    count = 6

    def __init__(self, root: Path, split: str) -> None:
        self.split = split

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if index >= self.count:
            raise IndexError(index)
        READ.append(f"{self.split}-{index}")
        return self.make(index, self.split)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> type[Made]:
    """The class behind the name `made`, for this test alone."""
    fresh = type("Fresh", (Made,), {"__module__": __name__})
    entry = Entry("datasets", "made", "nowhere", "segkit-nowhere", "1.0")
    registry = Registry(Index([entry]))
    monkeypatch.setattr(registry, "factory", lambda *_: fresh)
    monkeypatch.setattr("segkit.data.opening.named.default_registry", lambda: registry)
    READ.clear()
    return fresh


def with_mask(change: Callable[[np.ndarray], object]) -> Make:
    def make(index: int, split: str) -> Sample:
        sample = usual(index, split)
        if (index, split) == (2, "val"):
            assert sample.mask is not None
            changed = sample.mask.copy()
            given = change(changed)
            return Sample(sample.image, changed if given is None else given, sample.id)
        return sample

    return make


def stray(mask_HW: np.ndarray) -> None:
    mask_HW[5, :4] = 7


def negative(mask_HW: np.ndarray) -> None:
    mask_HW[5, 0] = -1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (stray, r"SK-D012: val: val-2: 4 pixels hold label 7, which is none of the 2 classes"),
        (negative, r"SK-D012: val: val-2: 1 pixel holds label -1, which"),
        (lambda mask_HW: mask_HW[:-1], "SK-D003: val: val-2 is 40 x 48, its mask 39 x 48"),
    ],
)
def test_a_sample_that_cannot_be_trained_on_is_told_before_the_first_step(
    made, tmp_path, change, said
):
    made.make = staticmethod(with_mask(change))
    with pytest.raises(DataError, match=said) as caught:
        open_data(tmp_path, DataOptions(dataset="made"))
    assert "tell the authors of the plugin" in caught.value.fix


def test_all_faults_are_told_at_once_also_those_of_the_plugins_own_reading(made, tmp_path):
    def make(index: int, split: str) -> Sample:
        if split == "train" and index < 2:
            raise DataError("SK-D004", f"{index}.png is damaged.", "Download it again.")
        return usual(index, split)

    made.make = staticmethod(make)
    with pytest.raises(SegkitError) as caught:
        open_data(tmp_path, DataOptions(dataset="made"))
    assert "0.png is damaged." in str(caught.value) and "1.png is damaged." in str(caught.value)


def test_absent_classes_twins_and_empty_samples_are_noted(made, tmp_path):
    def make(index: int, split: str) -> Sample:
        sample = usual(index if split == "train" else index + 1, "same")
        mask_HW = np.zeros_like(sample.mask) if split == "val" else sample.mask
        if (split, index) == ("val", 0):
            mask_HW = np.full_like(mask_HW, 9)
        return Sample(sample.image, mask_HW, f"{split}-{index}")

    made.make = staticmethod(make)
    notes = " ".join(open_data(tmp_path, DataOptions(dataset="made")).notes)
    assert "'thing' has no pixels in val, but in train." in notes
    assert "val-0 (val) is the same picture as train-1 (train). (5 such;" in notes
    assert "val: val-0 is ignored all over." in notes


def test_sizes_are_known_so_that_evaluation_makes_batches_of_one_size(made, tmp_path):
    dataset = open_data(tmp_path, DataOptions(dataset="made")).split("val")
    assert dataset.sizes == [(40, 48), (40, 56)] * 3
    assert [len(batch) for batch in EvaluationLoader(dataset, batch=3)] == [3, 3]


def test_a_set_that_was_looked_at_is_not_read_again_until_something_changes(
    made, tmp_path, monkeypatch
):
    monkeypatch.setattr("segkit.data.opening.samples.WORTH_KEEPING", 1)
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.bin").write_bytes(b"1")
    first = open_data(root, DataOptions(dataset="made"))
    assert len(READ) == 12
    assert open_data(root, DataOptions(dataset="made")).notes == first.notes and len(READ) == 12
    (root / "a.bin").write_bytes(b"22")
    open_data(root, DataOptions(dataset="made"))
    assert len(READ) == 24
    code = tmp_path / "code.py"
    code.write_text("x = 1")
    monkeypatch.setattr("segkit.data.opening.named._code_of", lambda _: [code])
    open_data(root, DataOptions(dataset="made"))
    os.utime(code, (1, 1))
    open_data(root, DataOptions(dataset="made"))
    assert len(READ) == 48


def batches(root: Path, cache: str, workers: int = 0) -> list[list[torch.Tensor]]:
    dataset = open_data(root, DataOptions(dataset="made", cache=cache)).split("train")
    loader = TrainingLoader(dataset, size=32, batch=3, seed=4, workers=workers)
    given = []
    for epoch in (0, 1):
        for batch in loader.epoch(epoch):
            assert batch.instances_BHW is not None
            given.append([batch.image_BCHW, batch.target_BHW, batch.instances_BHW])
    return given


def test_kept_samples_are_read_once_and_give_the_same_batches(made, tmp_path, own_cache):
    root = tmp_path / "root"
    root.mkdir()
    plain = batches(root, "off")
    READ.clear()
    kept = batches(root, "on")
    # Six samples of two splits looked at, and those of train once more for the cache.
    assert len(READ) == 12 + 6
    READ.clear()
    again = batches(root, "auto")
    assert len(READ) == 12
    for one, two, three in zip(plain, kept, again, strict=True):
        assert all(
            torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(one, two, three, strict=True)
        )
    assert not any(root.iterdir())


def test_kept_samples_are_whole_samples_too(made, tmp_path):
    dataset = open_data(tmp_path, DataOptions(dataset="made", cache="on")).split("val")
    for _ in range(2):
        for index in range(6):
            kept, made_anew = dataset[index], usual(index, "val")
            assert kept.id == made_anew.id
            for part in ("image", "mask", "instances"):
                one, other = getattr(kept, part), getattr(made_anew, part)
                assert np.array_equal(one, other) and one.dtype == other.dtype
    assert dataset.sizes == [(40, 48), (40, 56)] * 3


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_a_check_by_name_tells_classes_sizes_and_faults(made, tmp_path, capsys):
    root = tmp_path / "root"
    root.mkdir()
    out = tmp_path / "report"
    assert run("data", "check", str(root), "--dataset", "made", "--out", str(out)) == 0
    told = capsys.readouterr().out
    assert "made in" in told and "6 train, 6 val" in told
    assert (
        "sizes (height x width): 6 of 40 x 48; 6 of 40 x 56" in told
        and "ready to train: 0 errors" in told
    )
    held = json.loads((out / "check.json").read_text())
    assert [row["name"] for row in held["classes"]] == ["ground", "thing", "(ignored)"]
    assert (out / "sheet.png").is_file()
    made.make = staticmethod(with_mask(stray))
    (root / "changed").write_text("")
    assert run("data", "check", str(root), "--dataset", "made", "--json") == 3
    report = json.loads(capsys.readouterr().out)
    (group,) = report["findings"]
    assert group["code"] == "SK-D012" and report["classes"][2]["pixels"] == 4


def test_what_the_masks_mean_cannot_be_said_of_a_set_by_name(made, tmp_path, capsys):
    asked = ["data", "check", str(tmp_path), "--dataset", "made"]
    assert run(*asked, "--binarize", "9") == 2
    assert "--binarize cannot be chosen for made, which says itself" in capsys.readouterr().err
    with pytest.raises(UsageError):
        open_data(None, DataOptions(dataset="made"))


def test_preview_and_stats_take_a_set_by_name(made, tmp_path, capsys):
    root = tmp_path / "root"
    root.mkdir()
    out = tmp_path / "preview.png"
    assert run("data", "preview", str(root), "--dataset", "made", "--out", str(out)) == 0
    assert out.is_file()
    assert run("data", "stats", str(root), "--dataset", "made") == 0
    assert "ground" in capsys.readouterr().out
