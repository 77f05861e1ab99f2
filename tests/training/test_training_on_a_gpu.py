"""A training on a GPU learns in every precision, and continues where it was interrupted."""

import pytest
import torch

from segkit.training.training import resume, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_training_learns_what_colour_tells(settings, precision):
    learning = {"epochs": 12, "lr": 0.02, "decoder": "unet", "augmentation": "light"}
    config = settings(device="cuda", precision=precision, **learning)
    assert train(config).scores["miou"] > 0.9


def test_an_interrupted_run_ends_near_an_uninterrupted_one(settings, interrupted, tmp_path):
    common = {"device": "cuda", "precision": "fp32"}
    whole = train(settings(out=str(tmp_path / "whole"), **common))
    interrupted(settings(out=str(tmp_path / "parts"), **common), after=7)
    parts = resume(tmp_path / "parts")
    assert parts.scores["miou"] == pytest.approx(whole.scores["miou"], abs=0.02)
