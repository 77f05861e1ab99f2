"""What a recipe cannot promise, and that it trains all the same."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_worlds import ALONE, cells, decided

from segkit.config import TrainConfig
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import DataError
from segkit.recipes.deciding import with_recipe
from segkit.training.rehearsal import minutes
from segkit.training.rehearsal.deadline import Deadline
from segkit.training.rehearsal.minutes import Shape
from segkit.training.training import train


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_images_are_no_promise(folder, count):
    _, _, cautions = decided(folder(cells(count + 1)))
    assert cautions[0].startswith(f"{count} image")
    assert "cannot be promised" in cautions[0]


def test_one_class_alone_is_said(folder):
    ground = [(image, np.zeros_like(mask)) for image, mask in cells(12)]
    root = folder(ground)
    with pytest.raises(DataError, match="there is nothing to learn"):
        decided(root)
    data = open_data(root, DataOptions(num_classes=2))
    _, decisions = with_recipe(TrainConfig(data=str(root), weights="none"), data, ALONE)
    assert any("whatever it predicts" in each.reason for each in decisions)


def test_masks_empty_in_all_but_one_are_said(folder):
    pictures = [(image, mask * (number == 0)) for number, (image, mask) in enumerate(cells(13))]
    _, _, cautions = decided(folder(pictures))
    assert any("in 1 image of 12" in each and "may never be learnt" in each for each in cautions)


def test_sizes_far_apart_are_said_and_work(folder):
    config, _, cautions = decided(folder([*cells(3, side=40), *cells(2, side=2000), *cells(1)]))
    assert any("sides range from 40 to 2000 pixels" in each for each in cautions)
    assert config.encoder.startswith("unet")


def test_a_class_that_hardly_occurs_is_said_and_aimed_at(folder):
    pictures = [(image, 0 * mask) for image, mask in cells(40, side=200)]
    pictures[7][1][50:52, 50:52] = 1
    pictures[-1][1][50:60, 50:60] = 1
    config, reasons, cautions = decided(folder(pictures), size=64)
    assert any("0.00026 % of the pixels, in 1 image of 39" in each for each in cautions)
    assert config.crops == "foreground"
    assert "covers 0.00026 %" in reasons["crops"]


def test_frames_of_one_recording_are_said(folder):
    (image, mask), *others = cells(14)
    walk = [np.roll(image, 2 * step, axis=1) for step in range(14)]
    masks = [np.roll(mask, 2 * step, axis=1) for step in range(14)]
    _, _, cautions = decided(folder(list(zip(walk, masks, strict=True))))
    assert any("frames of a recording" in each for each in cautions)
    assert not any("recording" in each for each in decided(folder(others))[2])


def test_touching_objects_are_said_unless_they_are_separated(folder):
    pictures = []
    for image, _ in cells(12):
        numbers = np.zeros((64, 64), np.uint8)
        numbers[8:24, 8:24], numbers[8:24, 24:40], numbers[44:60, 44:60] = 1, 2, 3
        pictures.append((image, numbers))
    root = folder(pictures)
    data = open_data(root, DataOptions(instances="foreground"))
    told = []
    for separate in (None, "distance"):
        config = TrainConfig(data=str(root), weights="none", separate=separate)
        found = with_recipe(config, data, ALONE)[1]
        told.append([each.reason for each in found if "touch another" in each.reason])
    assert told[0][0].startswith("67% of the objects touch another one")
    assert told[1] == []


def _moved(pair: tuple[np.ndarray, np.ndarray], pixels: int) -> tuple[np.ndarray, np.ndarray]:
    image, mask = (np.roll(each, pixels, axis=1) for each in pair)
    return image, mask


def _dot(mask: np.ndarray) -> np.ndarray:
    """A square of four pixels, where the mask has its first."""
    place = np.argwhere(mask)[0]
    dot = np.zeros_like(mask)
    dot[place[0] : place[0] + 2, place[1] : place[1] + 2] = 1
    return dot


HARD_SETS = {
    "one image": lambda: cells(2),
    "two images": lambda: cells(3),
    "40 and 800 pixels": lambda: [*cells(3, side=40), *cells(2, side=800), *cells(1)],
    "12 bits": lambda: [(image.astype(np.uint16) * 16, mask) for image, mask in cells(5)],
    "empty but one": lambda: [(i, m * (n in (0, 5))) for n, (i, m) in enumerate(cells(6))],
    "smaller than a crop": lambda: cells(4, side=20, radius=4),
    "0.01 % of a class": lambda: [(i, m * 0 + _dot(m)) for i, m in cells(5, side=200)],
    "one recording": lambda: [_moved(cells(1)[0], 2 * n) for n in range(6)],
}


@pytest.mark.integration
@pytest.mark.parametrize("hard", HARD_SETS)
def test_what_a_recipe_decides_in_a_minute_can_be_trained(
    folder, tmp_path, one_thread, hard, monkeypatch
):
    root = folder(HARD_SETS[hard]())
    # Planned as for half a minute, and then cut to four steps.
    monkeypatch.setattr(minutes, "shape", lambda seconds, costs: Shape(2, 2, 2))
    monkeypatch.setattr(Deadline, "epochs", lambda self, setup, done: setup.epochs)
    small = {"minutes": 0.5, "samples": 1, "device": "cpu", "workers": 0}
    config = TrainConfig(data=str(root), weights="none", out=str(tmp_path / "run"), **small)
    result = train(config)
    assert result is not None
    assert np.isfinite(result.scores[result.score_name])
