"""Fits the temperature of a trained model on validation images, and keeps it in its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segkit.data.loader import EvaluationLoader
from segkit.device import choose_device, choose_precision, default_workers, device_errors
from segkit.errors import DataError, UsageError
from segkit.inference.predictor import Predictor
from segkit.model.folder import change_record, load_model
from segkit.model.network import COLDEST, HOTTEST
from segkit.model.place import HUB
from segkit.scoring.calibration import Calibration
from segkit.scoring.data_for_model import TrainedModel, data_for
from segkit.scoring.evaluate_model import LESS_MEMORY, EvaluationSettings, run_settings
from segkit.scoring.evaluation import refuse_labels_out_of_range
from segkit.scoring.temperature import DrawnPixels, fit_temperature, negative_log_likelihood

STORY = "calibration"


@dataclass(frozen=True)
class Calibrated:
    """A temperature and what it was fitted on; before it, the temperature was 1.

    pixels, drawn            that count, and of these that were fitted on
    likelihood_before, ...   mean negative log-likelihood of the truth, nats
    error_before, ...        expected calibration error in 15 bins
    """

    temperature: float
    data: str
    split: str
    images: int
    pixels: int
    drawn: int
    likelihood_before: float
    likelihood: float
    error_before: float
    error: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def calibrate_model(
    asked: EvaluationSettings, progress: Callable[[int, int], None] = lambda done, images: None
) -> Calibrated:
    """Fits the temperature and writes it into model.json; the weights are not touched.

    asked      model, data, split, options, batch, device, precision and workers count
    progress   called with (images, all images)
    Raises UsageError SK-C007 (one class, a model of the hub), DataError SK-T004 (nothing to fit
    on), and what `evaluate_model` raises.
    """
    refuse_unwritable(asked.model)
    device = choose_device(asked.device)
    with device_errors(device, LESS_MEMORY):
        network = load_model(asked.model, device)
        settings, record = run_settings(Path(asked.model)), network.record
        if record.label_count < 2:
            raise UsageError(
                "SK-C007",
                f"{asked.model} has one class, whose probability is 1 at every temperature.",
                "There is nothing to calibrate.",
            )
        data = data_for(TrainedModel(asked.model, record, settings), asked.data, asked.options)
        dataset, drawn = data.split(asked.split), DrawnPixels(record.label_count, data.ignore_index)
        predictor = Predictor(network, device, choose_precision(asked.precision, device))
        workers = default_workers(device, 1) if asked.workers is None else asked.workers
        done = 0
        for batch in EvaluationLoader(dataset, batch=asked.batch, workers=workers):
            refuse_labels_out_of_range(batch, record.label_count, data.ignore_index)
            logits_BKHW = predictor.logits(batch.image_BCHW, data.full_scale)
            drawn.update(logits_BKHW, batch.target_BHW)
            done += len(batch)
            progress(done, len(dataset))
    where = str(asked.data or (settings and settings.data) or "demo set")
    found = _fitted(drawn, where, asked.split, done)
    training = {**record.training, STORY: found.as_json()}
    change_record(asked.model, temperature=found.temperature, training=training)
    return found


def forget_temperature(model: str) -> None:
    """Gives a model folder the temperature 1 again."""
    refuse_unwritable(model)
    training = {k: v for k, v in load_model(model).record.training.items() if k != STORY}
    change_record(model, temperature=1.0, training=training)


def refuse_unwritable(model: str) -> None:
    """Raises UsageError SK-C007 for models that are no folder of the user's own."""
    if model.startswith(HUB) or Path(model).suffix.lower() == ".onnx":
        raise UsageError(
            "SK-C007",
            f"{model} is no model folder, and the temperature is kept in one.",
            "Calibrate the run that it came from, and export or push it again.",
        )


def _fitted(drawn: DrawnPixels, data: str, split: str, images: int) -> Calibrated:
    if not len(drawn):
        raise DataError(
            "SK-T004",
            f"no pixel of the split {split} of {data} counts: there is nothing to fit on.",
            "Choose another --split, or other --data.",
        )
    logits_NK, truth_N = drawn.logits_NK, drawn.truth_N
    temperature = float(f"{fit_temperature(logits_NK, truth_N):.6g}")
    if not 2 * COLDEST < temperature < HOTTEST / 2:
        right = float((logits_NK.argmax(dim=1) == truth_N).double().mean())
        fix = "Give more images, or images that were not trained on: --data DIR --split val."
        if temperature > 1:
            fix = "Its logits tell nothing of the truth: train it longer, or look at the data."
        raise DataError(
            "SK-T004",
            f"{right:.2%} of the {len(drawn):,} pixels are right, and no temperature is best: the "
            f"fit runs away to {temperature:g}.",
            fix,
        )
    errors, likelihoods = [], []
    for each in (1.0, temperature):
        likelihoods.append(negative_log_likelihood(logits_NK, truth_N, each))
        curve = Calibration(None, each)
        label_N = logits_NK.argmax(dim=1)
        curve.update(logits_NK.T[None, :, None], label_N[None, None], truth_N[None, None])
        errors.append(curve.error)
    return Calibrated(
        temperature, data, split, images, drawn.seen, len(drawn), *likelihoods, *errors
    )
