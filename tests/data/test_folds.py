"""The folds of a cross-validation: every image validates once, and recordings stay whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.data.loader import stored
from segkit.data.opening.open import open_data
from segkit.data.opening.opened import Data
from segkit.data.options import DataOptions, Fold
from segkit.errors import DataError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[dict[str, np.ndarray]], Path]:
    """Writes grey pictures by name, each with a mask of two classes."""

    def write(pictures: dict[str, np.ndarray]) -> Path:
        mask = np.zeros((32, 32), np.uint8)
        mask[8:20, 8:20] = 1
        for name, picture in pictures.items():
            for kind, array in (("images", picture), ("masks", mask)):
                file = tmp_path / kind / f"{name}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(file)
        return tmp_path

    return write


def noise(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return list(rng.integers(0, 256, (count, 32, 32), dtype=np.uint8))


def film(count: int, seed: int) -> list[np.ndarray]:
    """Frames that follow one another: a scene that moves to the right, and a little noise on it."""
    rng = np.random.default_rng(seed)
    scene = np.kron(rng.integers(40, 216, (8, 8)), np.ones((4, 4)))
    noise = rng.normal(0, 1, (count, *scene.shape))
    return [
        (np.roll(scene, frame, axis=1) + noise[frame]).astype(np.uint8) for frame in range(count)
    ]


def opened(root: Path | None, number: int, of: int, **options: object) -> Data:
    return open_data(root, DataOptions(fold=Fold(number, of), **options))


def names(data: Data, split: str) -> set[str]:
    return {data.split(split)[index].id for index in range(len(data.split(split)))}


def test_every_image_validates_once_and_trains_in_all_other_folds(folder):
    root = folder({f"{name}": each for name, each in zip("abcdefghijk", noise(11), strict=True)})
    folds = [opened(root, number, 3) for number in (1, 2, 3)]
    validated = [names(data, "val") for data in folds]
    assert set.union(*validated) == set("abcdefghijk")
    assert sorted(map(len, validated)) == [3, 4, 4]
    for data, held in zip(folds, validated, strict=True):
        assert names(data, "train") == set("abcdefghijk") - held
        assert {id for id, _ in data.contents["val"]} == held
    again = opened(root, 1, 3)
    assert names(again, "val") == validated[0]
    assert names(opened(root, 1, 3, seed=1), "val") != validated[0]
    count = len(validated[1])
    told = f"Fold 2 of 3: {count} images validate and {11 - count} train, drawn with seed 0."
    assert told in folds[1].notes
    assert not any("No split is given" in note for note in folds[1].notes)


def test_a_test_split_stays_apart(folder):
    root = folder(dict(zip("abcdefgh", noise(8), strict=True)))
    for split, members in (("train", "abcd"), ("val", "ef"), ("test", "gh")):
        (root / f"{split}.txt").write_text("\n".join(members))
    for number in (1, 2):
        data = opened(root, number, 2)
        assert names(data, "train") | names(data, "val") == set("abcdef")
        assert names(data, "test") == set("gh")


def test_recordings_that_pictures_show_are_never_parted(folder):
    pictures = {}
    for number, letter in enumerate("xyz"):
        frames = film(7, seed=number)
        pictures |= {f"{letter}{frame:03d}": each for frame, each in enumerate(frames)}
    root = folder(pictures)
    for number in (1, 2, 3):
        held = {name[0] for name in names(opened(root, number, 3), "val")}
        assert len(held) == 1
        assert not held & {name[0] for name in names(opened(root, number, 3), "train")}


def test_one_recording_is_cut_into_runs_of_frames_and_it_is_said(folder):
    root = folder({f"t{frame:03d}": each for frame, each in enumerate(film(12, 0))})
    for number in (1, 2, 3):
        data = opened(root, number, 3)
        held = sorted(int(name[1:]) for name in names(data, "val"))
        assert held == list(range(held[0], held[0] + 4))
        assert any("scores will flatter" in note for note in data.notes)


def test_patients_that_data_yaml_declares_are_never_parted_by_folds_or_the_drawn_split(folder):
    letters = [f"{patient}-{slice}" for patient in ("p1", "p2", "p3") for slice in range(4)]
    root = folder(dict(zip(letters, noise(12), strict=True)))
    (root / "data.yaml").write_text("group: 'p[0-9]+'\n")
    drawn = open_data(root)
    for data in (drawn, opened(root, 1, 3), opened(root, 3, 3)):
        held = {name[:2] for name in names(data, "val")}
        assert len(held) == 1
        assert len(data.split("val")) == 4
    assert any("whole groups by 'p[0-9]+'" in note for note in drawn.notes)
    with pytest.raises(UsageError, match=r"SK-C009: 5 folds of 3 groups") as error:
        opened(root, 1, 5)
    assert "--folds 3" in error.value.fix


def test_a_pattern_that_is_none_is_refused(folder):
    root = folder(dict(zip("ab", noise(2), strict=True)))
    (root / "data.yaml").write_text("group: '(p'\n")
    with pytest.raises(DataError, match=r"SK-D009: .*group"):
        open_data(root)


def test_more_folds_than_images_are_refused(folder):
    with pytest.raises(UsageError, match="SK-C009: 4 folds of 3 images"):
        opened(folder(dict(zip("abc", noise(3), strict=True))), 1, 4)


def test_the_samples_of_a_fold_are_those_of_the_set_read_whole_or_in_parts(folder):
    root = folder(dict(zip("abcde", noise(5), strict=True)))
    data, whole = opened(root, 2, 5), open_data(root)
    known = {whole.split("all")[i].id: whole.split("all")[i].image for i in range(5)}
    for split in ("train", "val"):
        for index in range(len(data.split(split))):
            sample = data.split(split)[index]
            assert np.array_equal(sample.image, known[sample.id])
            assert np.array_equal(stored(data.split(split), index).image[:, :], sample.image)


def test_the_demo_set_has_folds_too():
    first, second = opened(None, 1, 2), opened(None, 2, 2)
    pooled = len(open_data(None).split("train")) + len(open_data(None).split("val"))
    assert len(first.split("train")) + len(first.split("val")) == pooled
    assert not names(first, "val") & names(second, "val")
