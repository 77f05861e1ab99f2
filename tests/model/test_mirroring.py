"""A model that is asked of mirrored images too: their mean, wherever the model is used."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.special
import torch

import segkit
from segkit.export.onnx_export import export_onnx
from segkit.inference.predictor import Predictor

FP32 = {"precision": "fp32", "probabilities": True}
AXES = {"horizontal": [(), (1,)], "both": [(), (1,), (0,), (0, 1)]}


def built(outputs=3, stride=1):
    torch.manual_seed(0)
    model = segkit.build_model(
        "unet(width=4, depth=3)", decoder=f"unet(output_stride={stride})", num_classes=outputs
    )
    with torch.no_grad():
        model.head.weight.mul_(20)
    return model.eval()


def mirrored(model, mirrors):
    model.record = replace(model.record, mirrors=mirrors)
    return model


@pytest.fixture
def image_HWC():
    return np.random.default_rng(0).integers(0, 256, (21, 34, 3), dtype=np.uint8)


@pytest.mark.parametrize(("mirrors", "stride"), [("horizontal", 4), ("both", 1)])
def test_probabilities_are_the_mean_over_mirrored_images(mirrors, stride, image_HWC):
    model = built(stride=stride)
    answers = [
        np.flip(
            segkit.predict(model, np.flip(image_HWC, axes), **FP32).probabilities,
            [axis + 1 for axis in axes],
        )
        for axes in AXES[mirrors]
    ]
    found = segkit.predict(mirrored(model, mirrors), image_HWC, **FP32)
    np.testing.assert_allclose(found.probabilities, np.mean(answers, axis=0), atol=1e-5)
    assert (found.labels == np.mean(answers, axis=0).argmax(axis=0)).mean() > 0.999
    assert np.abs(answers[0] - answers[1]).max() > 0.1
    assert found.mutual_information.max() > 0.01


def test_the_mean_of_single_logits_is_that_of_their_probabilities(image_HWC):
    model, image_BCHW = built(outputs=1), torch.from_numpy(image_HWC).permute(2, 0, 1)[None]
    image_BCHW = model.normalize(image_BCHW)
    each = [model(image_BCHW), model(image_BCHW.flip(3)).flip(3)]
    mean = np.mean([scipy.special.expit(logit.detach().double().numpy()) for logit in each], axis=0)
    found = mirrored(model, "horizontal")(image_BCHW).detach().double().numpy()
    np.testing.assert_allclose(scipy.special.expit(found), mean, atol=1e-6)


def test_mirrors_on_top_of_all_mirrors_change_nothing(image_HWC):
    model = mirrored(built(), "both")
    plain, again = (segkit.predict(model, image_HWC, tta=tta, **FP32) for tta in (False, True))
    np.testing.assert_array_equal(plain.probabilities, again.probabilities)
    np.testing.assert_array_equal(plain.mutual_information, again.mutual_information)


def test_a_network_rewritten_for_a_cpu_is_rewritten_as_without_mirrors(image_HWC):
    model = mirrored(built(), "both")
    pixels_BCHW = torch.from_numpy(image_HWC).permute(2, 0, 1)[None]
    quick = Predictor(model, torch.device("cpu"))
    exact = Predictor(model, torch.device("cpu"), rewrites=False)
    assert quick.network is not model
    assert quick.network.record.mirrors == "both"
    parts = [type(each).__name__ for each in quick.network.modules()]
    plain = Predictor(mirrored(model, ""), torch.device("cpu")).network
    assert parts == [type(each).__name__ for each in plain.modules()]
    mirrored(model, "both")
    torch.testing.assert_close(
        quick.logits(pixels_BCHW, 255), exact.logits(pixels_BCHW, 255), rtol=1e-3, atol=1e-3
    )


@pytest.mark.slow
def test_an_exported_graph_holds_the_mirrors(tmp_path, image_HWC):
    model = mirrored(built(), "both")
    export_onnx(model, tmp_path / "model.onnx")  # which compares both at three sizes
    found = segkit.predict(tmp_path / "model.onnx", image_HWC, **FP32)
    due = segkit.predict(model, image_HWC, **FP32)
    np.testing.assert_allclose(found.probabilities, due.probabilities, atol=1e-4)
