"""One small network and its ONNX file, for all tests of exports; and files in OpenVINO."""

import numpy as np
import pytest
import torch

import segkit


@pytest.fixture(scope="session")
def model():
    torch.manual_seed(0)
    built = segkit.build_model("unet(depth=2, width=8)", "unet", "bilinear", num_classes=5)
    return built.eval()


@pytest.fixture(scope="session")
def exported(model, tmp_path_factory):
    from segkit.export.onnx_export import export_onnx

    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    return file, export_onnx(model, file)


@pytest.fixture(scope="session")
def in_openvino():
    """Called with a file of logits: a function from image_BCHW to those of OpenVINO on the CPU."""
    left_out = "openvino (180 MB) is not in requirements-dev.txt: python -m pip install openvino"
    openvino = pytest.importorskip("openvino", reason=left_out)

    def compiled(file):
        # Where the processor has bfloat16, OpenVINO computes in it unless it is told otherwise.
        exact = {"INFERENCE_PRECISION_HINT": "f32"}
        network = openvino.Core().compile_model(file, "CPU", exact)
        return lambda image_BCHW: network(image_BCHW)[0]

    return compiled


@pytest.fixture(scope="session")
def images_of_two_sizes():
    random = np.random.default_rng(0)
    sizes = ((1, 3, 96, 128), (2, 3, 75, 117))
    return [random.normal(size=size).astype(np.float32) for size in sizes]
