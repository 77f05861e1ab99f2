"""How images were read in training (alpha, pages, NaN) is recorded, and done alike afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import segkit
from segkit.data.files.reading import Reading, recorded_reading
from segkit.data.opening.open import open_data
from segkit.data.options import DataOptions
from segkit.errors import DataError

MASK = np.tri(32, dtype=np.uint8)


def see_through(root: Path, settings: str = "") -> Path:
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for name in "ab":
        pixels = rng.integers(0, 256, (32, 32, 4), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"images/{name}.png")
        Image.fromarray(MASK).save(root / f"masks/{name}.png")
    if settings:
        (root / "data.yaml").write_text(settings)
    return root


def test_data_without_a_data_yaml_are_read_as_the_model_s_own_were(tmp_path):
    trained = open_data(see_through(tmp_path / "trained", "alpha: white\n"))
    recorded = recorded_reading({"reading": trained.reading.record()})
    assert recorded == Reading(alpha="white")
    root = see_through(tmp_path / "scored")
    plain = open_data(root).split("all")[0].image
    scored = open_data(root, DataOptions(reading=recorded)).split("all")[0].image
    assert np.array_equal(scored, trained.split("all")[0].image)
    assert not np.array_equal(scored, plain)


def test_a_data_yaml_that_reads_otherwise_than_the_model_s_is_refused(tmp_path):
    root = see_through(tmp_path / "set", "alpha: channel\n")
    with pytest.raises(DataError) as caught:
        open_data(root, DataOptions(reading=Reading(alpha="white")))
    assert caught.value.code == "SK-D009"
    assert "says alpha: channel, and the model was trained with alpha: white." in caught.value.what


def test_a_model_that_records_nothing_reads_plainly():
    assert recorded_reading({}) == Reading()


def test_a_prediction_lays_pictures_on_white_where_the_training_did(tmp_path):
    file = see_through(tmp_path / "set") / "images/a.png"
    torch.manual_seed(0)
    model = segkit.build_model("unet(width=6, depth=2)", num_classes=3, in_channels=3)
    plain = segkit.predict(model, file).labels
    model.record = replace(model.record, training={"reading": {"alpha": "white"}})
    laid = segkit.predict(model, file).labels
    by_hand = Image.alpha_composite(Image.new("RGBA", (32, 32), "white"), Image.open(file))
    # Pillow rounds otherwise by one level at most.
    near = segkit.predict(model, np.asarray(by_hand.convert("RGB"))).labels
    assert (laid == near).mean() > 0.97 > (plain == near).mean()
