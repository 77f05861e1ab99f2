"""A whole training in small, tried before the long one: steps, a save, a resume, an answer."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from segkit.config import TrainConfig
from segkit.inference.predict import predict
from segkit.model.folder import load_model
from segkit.reporting.words import duration
from segkit.training.training import resume, train

STEPS = 2
# No multiple of any stride.
HEIGHT, WIDTH = 97, 131


def smoke_test(config: TrainConfig) -> list[tuple[str, str]]:
    """Trains two steps, scores, saves, resumes for two more, and predicts with the saved model.

    With all settings as they are, but on the first images alone and in a folder of its own, which
    is removed. What fails raises as it would in the long training. Returns what was done, as
    (subject, sentence).
    """
    with tempfile.TemporaryDirectory(prefix="segkit-smoke-") as folder:
        run = Path(folder) / "run"
        # Left to segkit, images learnt by heart would not be augmented.
        augmentation = "standard" if config.augmentation == "auto" else config.augmentation
        batch = 2 if config.batch == "auto" else config.batch
        few = {"overfit": STEPS * batch, "batch": batch, "epochs": 1, "augmentation": augmentation}
        few |= {"minutes": None, "epoch_steps": None}
        every = {"evaluate_every": 1, "samples_every": 1, "patience": None, "thaw_epoch": None}
        began = train(config.model_copy(update={"out": str(run), **few, **every}))
        assert began is not None  # only a dry run gives nothing
        went_on = resume(run, {"epochs": 2})
        model = load_model(run)
        pixels_HWC = np.zeros((HEIGHT, WIDTH, model.record.in_channels), np.uint8)
        answer = predict(model, pixels_HWC, intensity="fixed(0, 255)")
    height, width = answer.labels.shape
    return [
        ("trained", f"an epoch of {STEPS} steps, scored and saved, in {duration(began.seconds)}"),
        ("resumed", f"for another, in {duration(went_on.seconds)}"),
        ("predicted", f"an image of {height} x {width} pixels (height x width)"),
        ("smoke", "all of it works; nothing was kept"),
    ]
