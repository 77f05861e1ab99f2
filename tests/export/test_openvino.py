"""What `segkit export` writes runs in OpenVINO as well, in float32 and in 8 bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segkit.export.quantization import quantize

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.integration


def test_a_file_gives_pytorchs_logits_at_any_size(
    exported, model, in_openvino, images_of_two_sizes
):
    run = in_openvino(exported[0])
    for image_BCHW in images_of_two_sizes:
        with torch.no_grad():
            logits_BKHW = model(torch.from_numpy(image_BCHW)).numpy()
        np.testing.assert_allclose(run(image_BCHW), logits_BKHW, atol=1e-4)


def test_a_file_in_8_bits_gives_what_onnxruntime_gives(
    exported, model, in_openvino, images_of_two_sizes, tmp_path
):
    file = tmp_path / "int8.onnx"
    quantize(exported[0], file, "static", images_of_two_sizes)
    run = in_openvino(file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for image_BCHW in images_of_two_sizes:
        (theirs_BKHW,) = session.run(None, {"image": image_BCHW})
        with torch.no_grad():
            logits_BKHW = model(torch.from_numpy(image_BCHW)).numpy()
        ours, beside = (error(each, logits_BKHW) for each in (run(image_BCHW), theirs_BKHW))
        assert 0 < ours < 1.1 * beside


def error(found_BKHW, logits_BKHW):
    """Root of the mean square, over that of the logits."""
    return np.sqrt(np.square(found_BKHW - logits_BKHW).mean() / np.square(logits_BKHW).mean())
