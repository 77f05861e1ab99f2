"""A training that separates objects: what is decided, refused, learnt and remembered."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import segkit
from segkit.cli.predict_command import command as predict_command
from segkit.config import TrainConfig, layered, read_config
from segkit.data.opening.open import open_data
from segkit.data.options import options_of
from segkit.errors import DataError, UsageError
from segkit.model.folder import load_model
from segkit.registry.components import default_registry
from segkit.training.preparation.separating import with_object_metrics, with_separation
from segkit.training.training import train


@pytest.fixture
def numbered(tmp_path):
    """Pictures of two squares of 12 pixels that touch, with masks that number them."""
    for name in ("images", "masks"):
        (tmp_path / "cells" / name).mkdir(parents=True)
    for count in range(5):
        number_HW = np.zeros((40, 40), np.uint8)
        number_HW[8:20, 4 + count : 16 + count] = 1
        number_HW[8:20, 16 + count : 28 + count] = 2
        image_HW = np.where(number_HW > 0, 200 - 20 * number_HW, 30).astype(np.uint8)
        Image.fromarray(image_HW).save(tmp_path / f"cells/images/{count}.png")
        Image.fromarray(number_HW).save(tmp_path / f"cells/masks/{count}.png")
    return tmp_path / "cells"


def decided(**given):
    config = TrainConfig(cache="off", **given)
    return with_separation(config, open_data(config.data, options_of(config)))


def test_the_usual_depth_is_measured_and_object_numbers_are_taken_as_such(numbered):
    config = decided(data=str(numbered), separate="distance(saddle=0.7)")
    # A square of 12 pixels is 6 deep, measured to the centre of its innermost pixels.
    assert (
        config.separate == "distance(reach=5.5, saddle=0.7, least=0.05, weight=2.0, least_area=36)"
    )


def test_masks_of_classes_are_refused():
    with pytest.raises(DataError, match=r"SK-D037: the data tell no objects apart"):
        decided(separate="distance")


def test_a_boundary_class_beside_a_separation_is_refused(numbered):
    with pytest.raises(UsageError, match="Leave --instances out: --separate boundary does both"):
        decided(data=str(numbered), instances="boundary", separate="boundary")


def test_objects_are_what_is_scored_unless_somebody_asks_for_other_metrics():
    index = default_registry().index
    scored = [
        with_object_metrics(TrainConfig(**given), index).metric
        for given in ({}, {"separate": "centre"}, {"separate": "centre", "metric": "dice"})
    ]
    assert scored == ["miou", "seg, ap, pq, miou", "dice"]


@pytest.mark.parametrize("separate", ["boundary", "distance", "centre"])
def test_the_run_and_its_model_remember_the_separation(numbered, tmp_path, tiny_settings, separate):
    changes = {"data": str(numbered), "separate": separate, "out": str(tmp_path / "run")}
    result = train(layered(None, tiny_settings | changes | {"epochs": 1, "metric": "miou"}))
    assert result.score_name == "seg"
    model = load_model(tmp_path / "run")
    written = read_config(tmp_path / "run/config.yaml").separate
    assert model.record.separation == written
    assert written.startswith(f"{separate}(reach=5.5")
    assert model.record.maps == model.head.out_channels - 2 == 1 + (separate == "centre")
    assert segkit.predict(model, numbered / "images/0.png").separated is not None
    given = [str(tmp_path / "run"), str(numbered / "images"), "--out", str(tmp_path / "out")]
    least = "specks of fewer than 36 pixels (a tenth at the border) are no objects"
    assert least in CliRunner().invoke(predict_command, given).output
    given += ["--overwrite", "--least-area", "1"]
    assert least not in CliRunner().invoke(predict_command, given).output
