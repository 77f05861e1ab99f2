"""What is shown to a network and what it is told to mind, decided by the data."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_worlds import Pictures, cells, decided, exposures, landscapes, letters

from segkit.config import TrainConfig, read_config
from segkit.data.opening.open import open_data
from segkit.inference.predict import predict
from segkit.recipes.fingerprint import fingerprint_of
from segkit.training.training import train


def test_a_world_without_an_up_is_turned_and_mirrored(folder):
    config, reasons, _ = decided(folder(cells(16, colour=True)))
    assert "flips=both" in config.augmentation
    assert "nothing tells up from down" in reasons["augmentation"]


def test_landscapes_are_mirrored_and_not_turned_upside_down(folder):
    config, reasons, _ = decided(folder(landscapes(16)))
    assert "both" not in config.augmentation
    assert "none" not in config.augmentation
    assert "nearly every picture" in reasons["augmentation"]


def test_writing_is_never_mirrored(folder):
    config, reasons, _ = decided(folder(letters(48)))
    assert "flips=none" in config.augmentation
    assert "unlike their mirror images" in reasons["augmentation"]


def test_pictures_of_unlike_contrasts_are_each_scaled_by_itself_unless_it_is_said(folder):
    root = folder(exposures(9))
    config, reasons, _ = decided(root)
    assert config.intensity == "per-image"
    first, ninth = fingerprint_of(open_data(root)).contrast
    # 0.5 % and 99.5 % of noise of 8 about 60, and of 80 more: 2 x 2.58 x 8 + 80.
    assert ninth == pytest.approx(121 / 255, rel=0.1)
    assert first == pytest.approx(ninth / 6, rel=0.1)
    assert f"below {100 * first:.2g} % of white" in reasons["intensity"]
    assert decided(root, intensity="percentile")[0].intensity == "percentile"
    (root / "data.yaml").write_text("intensity: range\n")
    assert decided(root)[0].intensity is None


def test_pictures_of_one_contrast_keep_their_scale(folder):
    assert decided(folder(cells(9)))[0].intensity is None


def test_a_training_on_unlike_contrasts_ends_in_a_model_that_scales_each_image(
    folder, tmp_path, one_thread
):
    root = folder(exposures(5))
    small = {"epochs": 1, "epoch_steps": 1, "batch": 2, "size": 32, "samples": 0, "workers": 0}
    small |= {"encoder": "unet(depth=2, width=4)", "device": "cpu", "out": str(tmp_path / "run")}
    run = train(TrainConfig(data=str(root), weights="none", **small)).folder
    assert read_config(run / "config.yaml").intensity == "per-image"
    bright = cells(1)[0][0]
    dark = (bright.astype(np.float32) / 4).astype(np.float32)
    answers = [predict(run, each, probabilities=True) for each in (bright, dark)]
    assert np.allclose(*(each.probabilities for each in answers), atol=0.02)


def bands(*shares: float) -> Pictures:
    """Three pictures of stripes that cover these shares of 100 columns, class by class."""
    columns = np.repeat(np.arange(len(shares)), [round(100 * share) for share in shares])
    mask = np.tile(columns.astype(np.uint8), (100, 1))
    return [((20 + 40 * mask + 5 * n).astype(np.uint8), mask) for n in range(3)]


def test_classes_that_cover_unlike_areas_are_weighed_by_the_root(folder):
    """Shares of 0.69, 0.3 and 0.01: roots of 0.831, 0.548 and 0.1, one over each 1.204, 1.826 and
    10, of which the mean is 4.343."""
    config, reasons, _ = decided(folder(bands(0.69, 0.3, 0.01)))
    assert config.loss == "dice + ce(class_weights=[0.2772, 0.4204, 2.302])"
    assert "class 1 covers 30 % of the pixels and class 2 1 %" in reasons["loss"]


@pytest.mark.parametrize("shares", [(0.98, 0.02), (0.96, 0.01, 0.03), (0.01, 0.05, 0.94)])
def test_what_lies_on_a_ground_is_not_weighed_against_it(folder, shares):
    config, reasons, _ = decided(folder(bands(*shares)))
    assert config.loss == "dice+ce" and "loss" not in reasons


@pytest.mark.parametrize("given", [{"loss": "dice+ce"}, {"loss": "dice"}])
def test_a_loss_that_is_given_is_not_weighed(folder, given):
    assert decided(folder(bands(0.69, 0.3, 0.01)), **given)[0].loss == given["loss"]
