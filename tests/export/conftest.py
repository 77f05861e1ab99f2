"""One small network and its ONNX file, for all tests of exports."""

import pytest
import torch

import segkit


@pytest.fixture(scope="session")
def model():
    torch.manual_seed(0)
    built = segkit.build_model("unet(depth=3, width=8)", "unet", "bilinear", num_classes=5)
    return built.eval()


@pytest.fixture(scope="session")
def exported(model, tmp_path_factory):
    from segkit.export.onnx_export import export_onnx

    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    return file, export_onnx(model, file)
