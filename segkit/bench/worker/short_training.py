"""One short training of a network, in a process of its own: its score, and its artefacts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def train_briefly(request: Mapping[str, Any], stage: Callable[[str], None]) -> dict[str, Any]:
    """Trains one network; returns fields of Quality and Checkerboard."""
    from segkit.config import TrainConfig
    from segkit.model.folder import load_model
    from segkit.training.monitoring.events import EpochReport, Silence
    from segkit.training.training import train

    class Telling(Silence):
        steps = 0

        def finished_epoch(self, report: EpochReport) -> None:
            self.steps = report.step
            stage(f"epoch {report.epoch} of {report.epochs}")
            self.convention = report.conventions

    stage("training")
    settings = request["settings"]
    with tempfile.TemporaryDirectory(prefix="segkit-bench-") as folder:
        config = TrainConfig(
            **request["parts"],
            recipe="plain",
            data=settings["data"],
            epochs=settings["epochs"],
            batch=settings["batch"],
            metric=settings["metric"],
            seed=settings["seed"],
            device=settings["device"],
            weights="none",
            samples=0,
            evaluate_every=settings["epochs"],
            out=str(Path(folder) / "run"),
        )
        telling = Telling()
        result = train(config, telling)
        if result is None:
            raise RuntimeError("the training gave no result")
        score = result.scores.get(result.score_name)
        found: dict[str, Any] = {
            "quality": {
                "score": score if score is not None and score == score else None,
                "metric": result.score_name,
                "convention": next(iter(telling.convention.values()), ""),
                "data": settings["data"] or "demo set",
                "epochs": result.epochs,
                "steps": telling.steps,
                "seconds": result.seconds,
            }
        }
        if settings["checkerboard"]:
            from segkit.bench.worker.checkerboard import before_and_after

            stage("artefacts")
            trained = load_model(result.folder)
            found["checkerboard"] = before_and_after(trained, config, Path(request["picture"]))
    return found
