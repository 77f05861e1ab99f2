"""Every part of ours in a graph: each encoder, decoder and upsampler once, beside usual others."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch

import segkit
from segkit.errors import ModelFileError
from segkit.export.onnx_export import TOLERANCE, TRIED, export_onnx
from segkit.registry.index import FIRST_PARTY, Index

pytest.importorskip("onnxruntime")
SMALL, DEEPER = "unet(depth=3, width=8)", "unet(depth=4, width=4)"
# A few levels have every operation of an encoder; two are traced whole, which takes minutes.
ENCODERS = [SMALL, "vgg11_bn(depth=3)", "densenet121(depth=3)", "timm/resnet18(depth=3)"]
ENCODERS += ["timm/convnext_atto(depth=2)", "timm/efficientnet_lite0(depth=3)"]
ENCODERS += ["smp/resnet18(depth=3)", "smp/mit_b0(depth=2)"]
WHOLE = ["timm/resnet18", "densenet121"]
DECODERS = ["unet", "unet_bilinear", "fcn", "deeplabv3plus", "linear"]
OF_SMP = ["unet", "unetplusplus", "manet", "linknet", "fpn"]
OF_SMP += ["deeplabv3", "deeplabv3plus", "pan", "segformer", "dpt"]
# torch freezes the places that they pool to a grid of fixed size.
REFUSED = ["smp/pspnet", "smp/upernet"]
UPSAMPLERS = ["nearest", "bicubic", "transposed", "bed_of_nails", "pixel_shuffle", "dysample"]
CASES = [(each, "unet", "bilinear") for each in ENCODERS]
CASES += [("unet(depth=3, width=8, padding=valid)", "unet(padding=valid)", "bilinear")]
CASES += [(DEEPER, each, "bilinear") for each in DECODERS]
CASES += [(SMALL, "unet", each) for each in UPSAMPLERS]
CASES += [("vgg11_bn(depth=3)", "segnet", "max_unpool")]
# Of two levels, a doubling ends at the image's own size: other graphs than deeper networks have.
CASES += [("unet(depth=2, width=8)", "unet", "carafe"), (SMALL, "unet", "carafe")]
CASES += [(each, "unet", "bilinear") for each in WHOLE]
CASES += [(DEEPER, f"smp/{each}", "bilinear") for each in OF_SMP]
# What a recipe of few minutes takes.
QUICK = ("unet(depth=3, width=8, stride=2)", "unet(output_stride=2, width=4)", "bilinear")
PARTS = [pytest.param(QUICK, id=" + ".join(QUICK))]
PARTS += [pytest.param(each, id=" + ".join(each), marks=pytest.mark.slow) for each in CASES]


@pytest.mark.parametrize("parts", PARTS)
def test_the_file_agrees_with_the_network_at_every_size(
    parts, images_of_two_sizes, tmp_path, request
):
    torch.manual_seed(0)
    model = segkit.build_model(*parts, num_classes=3).eval()
    file = tmp_path / "model.onnx"
    found = export_onnx(model, file).agreement
    assert tuple(each.size for each in found) == TRIED
    assert all(each.difference <= TOLERANCE and not each.labels_differing for each in found)
    if find_spec("openvino") is None:
        return
    run = request.getfixturevalue("in_openvino")(file)
    for image_BCHW in images_of_two_sizes:
        with torch.no_grad():
            logits_BKHW = model(torch.from_numpy(image_BCHW)).numpy()
        largest = max(1.0, np.abs(logits_BKHW).max())
        np.testing.assert_allclose(run(image_BCHW), logits_BKHW, atol=TOLERANCE * largest, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", REFUSED)
def test_what_pools_to_a_fixed_grid_is_refused(decoder, tmp_path):
    model = segkit.build_model(DEEPER, decoder, "bilinear", num_classes=3).eval()
    with pytest.raises(ModelFileError) as caught:
        export_onnx(model, tmp_path / "model.onnx")
    assert caught.value.code in ("SK-M008", "SK-M009")
    assert list(tmp_path.iterdir()) == []


def test_the_table_names_every_part_of_ours():
    named = {each.partition("(")[0].partition("/")[0] for parts in CASES for each in parts}
    named |= {f"densenet{depth}" for depth in (161, 169, 201)}  # as densenet121, with more layers
    named |= {f"vgg{depth}_bn" for depth in (13, 16, 19)}
    kinds = ("encoders", "decoders", "upsamplers")
    ours = [each for each in Index.of_installed(()).entries if each.distribution in FIRST_PARTY]
    assert {each.name for each in ours if each.kind in kinds} <= named
