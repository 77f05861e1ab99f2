"""`segkit.train(...)`: a training started from Python, settings by keyword."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segkit.config import layered
from segkit.errors import UsageError
from segkit.training.cross_validation import begin
from segkit.training.monitoring.events import Events, TrainingResult


def train(
    data: str | Path | None = None,
    *,
    config: str | Path | None = None,
    events: Events | None = None,
    **settings: Any,
) -> TrainingResult:
    """Trains a model as `segkit train` does, and returns its scores and its folder.

    data       a folder of images and masks; None: the built-in demo set
    config     a YAML file with settings, below those given here
    events     is told of every decision, step and epoch; None: nothing is printed
    settings   those of `segkit train`, with underscores: encoder="densenet121", epochs=20,
               out="runs/cells", batch=8, device="cpu", ...

        result = segkit.train("data/cells", encoder="densenet121", epochs=20, out="runs/cells")
        segkit.load_model(result.folder).predict("new.png").save("answer")

    Raises UsageError (SK-C008 a setting that is not known, SK-C009 a wrong value), and what a
    training raises.
    """
    options = {**settings, "data": None if data is None else str(data)}
    result = begin(layered(Path(config) if config else None, options), events)
    if result is None:  # only a dry run has none
        raise UsageError("SK-C009", "nothing was trained.", "Use `segkit train --dry-run`.")
    return result
