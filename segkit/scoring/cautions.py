"""What makes the scores of an evaluation say less than they seem to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from segkit.data.files.pairing import NO_SPLIT
from segkit.data.opening.opened import ALL, Data
from segkit.scoring.data_for_model import TrainedModel


def cautions(asked: Path | None, split: str, data: Data, model: TrainedModel) -> Iterator[str]:
    """Of images that were trained or calibrated on, and of images that a drawn split leaves out.

    asked   the data named for scoring; None: those of the training
    split   of them
    """
    settings, fitted = model.settings, model.record.training.get("calibration", {})
    place = str(asked or (settings and settings.data) or "demo set")
    if fitted.get("data") == place and fitted.get("split") == split:
        yield (
            "The temperature was fitted on these very images: the calibration of new images will "
            "be less good."
        )
    own = settings is not None and _same_folder(asked, settings.data)
    trained_on = len(data.split("train")) if "train" in data.splits else 0
    if own and trained_on and split in ("all", "train"):
        apart = next((name for name in ("val", "test") if name in data.splits), None)
        others = f"--split {apart} scores the others." if apart else "--data DIR scores others."
        yield (
            f"{trained_on} of these images are those it was trained on: new images will score "
            f"lower. {others}"
        )
    drawn = any(note.startswith(NO_SPLIT) for note in data.notes)
    if not own and drawn and split == "val":
        left = len(data.split(ALL)) - len(data.split("val"))
        yield f"{left} images are not scored: --split all scores every one."


def _same_folder(asked: Path | None, trained: str | None) -> bool:
    if asked is None or trained is None:
        return asked is None
    return asked.expanduser().resolve() == Path(trained).expanduser().resolve()
