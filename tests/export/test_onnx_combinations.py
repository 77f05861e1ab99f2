"""Every part of ours in a graph: each encoder, decoder and upsampler once, beside usual others."""

from __future__ import annotations

import pytest
import torch

import segkit
from segkit.errors import UsageError
from segkit.export.onnx_export import export_onnx

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow
SMALL = "unet(depth=3, width=8)"
ENCODERS = [SMALL, "unet(depth=3, width=8, padding=valid)", "vgg11_bn", "densenet121"]
ENCODERS += ["timm/resnet18", "timm/convnext_atto", "timm/efficientnet_lite0", "smp/mit_b0"]
DECODERS = ["unet", "unet_bilinear", "fcn", "deeplabv3plus", "smp/fpn", "smp/segformer"]
UPSAMPLERS = ["nearest", "bilinear", "bicubic", "transposed", "bed_of_nails", "pixel_shuffle"]
UPSAMPLERS += ["carafe", "dysample"]
CASES = [(each, "unet", "bilinear") for each in ENCODERS]
CASES += [("timm/resnet18", each, "bilinear") for each in DECODERS]
CASES += [(SMALL, "unet", each) for each in UPSAMPLERS]
# Of two levels, a doubling ends at the image's own size: other graphs than deeper networks have.
CASES += [("unet(depth=2, width=8)", "unet", "carafe")]
CASES += [("vgg11_bn", "segnet", "max_unpool")]


@pytest.mark.parametrize("parts", CASES, ids=" + ".join)
def test_the_file_agrees_with_the_network_at_every_size(parts, tmp_path):
    encoder, decoder, upsampler = parts
    if "valid" in encoder:
        decoder = f"{decoder}(padding=valid)"
    torch.manual_seed(0)
    try:
        model = segkit.build_model(encoder, decoder, upsampler, num_classes=3).eval()
    except UsageError as refused:
        pytest.skip(str(refused))
    report = export_onnx(model, tmp_path / "model.onnx")
    assert all(each.labels_differing == 0 for each in report.agreement)
