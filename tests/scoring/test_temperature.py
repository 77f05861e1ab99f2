"""Temperatures: where SciPy finds them, kept with the model, on every probability and no label."""

import json

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import torch
from PIL import Image

import segkit
from segkit.cli.main import main
from segkit.errors import DataError, UsageError
from segkit.export.onnx_graph import GraphSettings, metadata_of
from segkit.inference.files import PredictionSettings, predict_to_folder
from segkit.inference.output import Output
from segkit.model.folder import change_record
from segkit.scoring.calibrate_model import calibrate_model
from segkit.scoring.evaluate_model import EvaluationSettings, evaluate_model
from segkit.scoring.evaluation_folder import write_evaluation
from segkit.scoring.temperature import DrawnPixels, fit_temperature, negative_log_likelihood


def sure_pixels(heat, count=20_000, classes=5):
    """Logits that are `heat` times too large for truths that were drawn by them."""
    random = np.random.default_rng(0)
    logits_NK = random.normal(0, 2, (count, classes))
    share_NK = scipy.special.softmax(logits_NK, axis=1)
    truth_N = (share_NK.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    return torch.from_numpy(heat * logits_NK), torch.from_numpy(truth_N)


@pytest.mark.parametrize("heat", [0.2, 1.0, 7.0])
def test_the_temperature_is_where_scipy_finds_the_least_likelihood(heat):
    logits_NK, truth_N = sure_pixels(heat)

    def likelihood(log_temperature):
        log_NK = scipy.special.log_softmax(logits_NK.numpy() / np.exp(log_temperature), axis=1)
        return -log_NK[np.arange(len(truth_N)), truth_N].mean()

    theirs = scipy.optimize.minimize_scalar(likelihood, bounds=(-4, 4), options={"xatol": 1e-10})
    ours = fit_temperature(logits_NK, truth_N)
    assert ours == pytest.approx(np.exp(theirs.x), rel=1e-6)
    assert ours == pytest.approx(heat, rel=0.05)
    assert negative_log_likelihood(logits_NK, truth_N, ours) == pytest.approx(theirs.fun, abs=1e-12)


def test_pixels_are_drawn_evenly_and_no_ignored_one():
    logits_BKHW = torch.zeros(4, 2, 50, 50)
    logits_BKHW[:, 0] = torch.arange(4.0)[:, None, None]
    target_BHW = torch.zeros(4, 50, 50, dtype=torch.int64)
    target_BHW[:, :10] = 255
    whole, few, in_parts = (DrawnPixels(2, 255, values) for values in (2**20, 4000, 4000))
    for drawn in (whole, few):
        drawn.update(logits_BKHW, target_BHW)
    for image in range(4):
        in_parts.update(logits_BKHW[image, None], target_BHW[image, None])
    assert (len(whole), whole.seen, few.seen) == (8000, 8000, 8000)
    assert 500 < len(few) <= 2000 and (few.truth_N == 0).all()
    assert torch.equal(few.logits_NK, in_parts.logits_NK)
    of_image = torch.bincount(few.logits_NK[:, 0].long(), minlength=4)
    assert ((of_image - len(few) / 4).abs() < 5 * np.sqrt(len(few) / 4)).all()


@pytest.fixture
def model(tmp_path, one_thread):
    """A model with nothing learnt that is far too sure."""
    torch.manual_seed(0)
    network = segkit.build_model("unet(width=4, depth=2)", num_classes=3)
    with torch.no_grad():
        network.head.weight.mul_(40)
    folder = segkit.save_model(network, tmp_path / "model")
    return str(folder)


def calibrated(model, data):
    return calibrate_model(EvaluationSettings(model, data=data, workers=0, precision="fp32"))


def test_probabilities_keep_to_it_and_labels_do_not_move(model, tiny_folder, tmp_path):
    picture = np.asarray(Image.open(tiny_folder / "images/val/0.png"))
    asked = {"probabilities": True, "precision": "fp32"}
    before = segkit.predict(model, picture, **asked)
    mirrored_before = segkit.predict(model, picture, tta=True, **asked)
    found = calibrated(model, tiny_folder)
    assert found.temperature > 1.5 and found.likelihood < found.likelihood_before
    after = segkit.predict(model, picture, **asked)
    sharper_KHW = before.probabilities.astype(np.float64) ** (1 / found.temperature)
    np.testing.assert_allclose(
        after.probabilities, sharper_KHW / sharper_KHW.sum(axis=0), atol=1e-5
    )
    assert (after.labels == before.labels).all()
    assert after.uncertainty.mean() > before.uncertainty.mean()
    mirrored = segkit.predict(model, picture, tta=True, **asked)
    assert (mirrored.labels == mirrored_before.labels).all()
    metadata = metadata_of(segkit.load_model(model), GraphSettings())
    assert json.loads(metadata["segkit.temperature"]) == found.temperature


@pytest.mark.integration
def test_an_evaluation_shows_both_and_says_what_it_was_fitted_on(model, tiny_folder, tmp_path):
    found = calibrated(model, tiny_folder)
    asked = EvaluationSettings(
        model, data=tiny_folder, metric="ece", workers=0, precision="fp32", details=True
    )
    evaluation = evaluate_model(asked)
    assert evaluation.details.calibration.error == pytest.approx(found.error, abs=1e-6)
    assert evaluation.details.untempered.error == pytest.approx(found.error_before, abs=1e-6)
    assert evaluation.scores.values["ece"] == pytest.approx(found.error, abs=1e-6)
    assert "fitted on these very images" in " ".join(evaluation.cautions)
    page = (write_evaluation(evaluation, tmp_path / "out", "") / "report.html").read_text()
    assert f"{found.error_before:.3f} before its temperature of {found.temperature:.3g}" in page
    kept = json.loads((tmp_path / "out/scores.json").read_text())
    assert kept["temperature"] == found.temperature
    assert (tmp_path / "out/calibration-untempered.png").is_file()


def test_a_folder_of_probabilities_is_not_gone_on_with_at_another_temperature(
    model, tiny_folder, tmp_path
):
    def predict(**more):
        output = Output(tmp_path / "out", overlays=False, uncertainty=True, **more)
        asked = PredictionSettings(model, precision="fp32", batch=1)
        return predict_to_folder(asked, [tiny_folder / "images/val"], output)

    predict()
    change_record(model, temperature=2.0)
    with pytest.raises(UsageError, match=r"temperature None, now 2\.0"):
        predict(resume=True)


def test_the_command_fits_and_takes_away(model, tiny_folder, capsys):
    for more in (["--data", str(tiny_folder), "--workers", "0", "--json"], ["--remove"]):
        with pytest.raises(SystemExit) as ended:
            main(["calibrate", model, *more])
        assert ended.value.code == 0
        told = capsys.readouterr().out
        heat = segkit.load_model(model).record.temperature
        assert heat == (json.loads(told)["temperature"] if "--json" in more else 1.0)


def test_what_cannot_be_fitted_is_refused(model, tiny_folder, monkeypatch):
    with pytest.raises(UsageError, match="hf:a/b is no model folder"):
        calibrated("hf:a/b", tiny_folder)
    for truth, told in (
        (
            torch.argmax,
            r"100.00% of the .* pixels are right.*runs away to 0\.01.\n.*Give more images",
        ),
        (
            torch.argmin,
            r"0.00% of the .* pixels are right.*runs away to 100.\n.*Its logits tell not",
        ),
    ):
        monkeypatch.setattr(
            "segkit.scoring.calibrate_model.DrawnPixels.truth_N",
            property(lambda drawn, truth=truth: truth(drawn.logits_NK, dim=1)),
        )
        with pytest.raises(DataError, match=told):
            calibrated(model, tiny_folder)
    assert segkit.load_model(model).record.temperature == 1
