"""The file of a model that tells touching objects apart gives the very objects of the model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import segkit
from segkit.errors import ModelFileError
from segkit.export.onnx_export import export_onnx
from segkit.export.onnx_graph import GraphSettings, metadata_of
from segkit.inference.onnx_network import load_onnx
from segkit.model.compose import build_model
from segkit.separation.named import build_separation

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
LOGITS = GraphSettings()
CASES = [
    ("boundary(reach=4)", GraphSettings(normalizes=True, labels=True)),
    ("distance(reach=4)", LOGITS),
    ("centre(reach=4)", GraphSettings(probabilities=True)),
]


def separating(kind):
    torch.manual_seed(0)
    maps = build_separation(kind).maps
    model = build_model("unet(depth=2, width=8)", num_classes=2, separation=kind, maps=maps).eval()
    pixels_BCHW = torch.from_numpy(blobs()).permute(2, 0, 1)[None]
    with torch.no_grad():
        output = model(model.normalize(pixels_BCHW), enlarged=False)
        # Half of the pixels are foreground, and half of each map lies above 0.
        model.head.bias -= output.logits_BKhw.flatten(2).median(dim=2).values[0]
    return model


def blobs():
    noise_HW = torch.rand(12, 14, generator=torch.Generator().manual_seed(1))[None, None]
    smooth_HW = nn.functional.interpolate(noise_HW, (95, 110), mode="bicubic")[0, 0]
    return (smooth_HW.clamp(0, 1) * 255).byte().numpy()[..., None].repeat(3, axis=-1)


def found_again(one_HW, other_HW):
    """The share of one's objects that the other has too, by an IoU above 0.9."""
    hits = 0
    for number in range(1, one_HW.max() + 1):
        own_HW = one_HW == number
        named, counts = np.unique(other_HW[own_HW], return_counts=True)
        best_HW = other_HW == named[counts.argmax()]
        hits += (
            bool(named[counts.argmax()])
            and (own_HW & best_HW).sum() > 0.9 * (own_HW | best_HW).sum()
        )
    return hits / one_HW.max()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "settings"), CASES, ids=["boundary", "distance", "centre"])
def test_objects_of_the_file_are_those_of_the_model(kind, settings, tmp_path):
    model = separating(kind)
    exported = export_onnx(model, tmp_path / "model.onnx", settings)
    assert exported.outputs[-1] == "maps"
    theirs = segkit.predict(tmp_path / "model.onnx", blobs())
    ours = segkit.predict(model, blobs(), precision="fp32")
    assert (theirs.labels == ours.labels).mean() > 0.999
    assert ours.separated.max() > 5
    assert found_again(ours.separated, theirs.separated) > 0.9
    assert found_again(theirs.separated, ours.separated) > 0.9


def graph_of(file, told, maps):
    """A file whose logits and maps are the image's channels."""
    axes = ["batch", 3, "height", "width"]
    image = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, axes)
    given = {"logits": (0, 2), "maps": (0, maps)}
    made, nodes, parts = [], [], []
    for name, (start, stop) in given.items():
        for end, place in (("start", start), ("stop", stop), ("axis", 1)):
            tensor = onnx.numpy_helper.from_array(np.array([place], np.int64), f"{name}_{end}")
            parts.append(tensor)
        ends = [f"{name}_{end}" for end in ("start", "stop", "axis")]
        nodes.append(onnx.helper.make_node("Slice", ["image", *ends], [name]))
        shape = ["batch", stop, "height", "width"]
        made.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    graph = onnx.helper.make_graph(nodes, "separating", [image], made, parts)
    opset = [onnx.helper.make_opsetid("", 18)]
    whole = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    onnx.helper.set_model_props(whole, told)
    onnx.save(whole, file)
    return file


def test_a_file_keeps_the_separation_and_its_maps_and_any_other_is_refused(tmp_path):
    model = separating("distance(reach=4)")
    told = metadata_of(model, LOGITS)
    assert json.loads(told["segkit.output"]) == ["logits", "maps"]
    network = load_onnx(graph_of(tmp_path / "whole.onnx", told, maps=1))
    assert network.record.separation == model.record.separation
    image_BCHW = torch.randn(1, 3, 9, 11)
    label_BHW, output = network.labelled(image_BCHW)
    assert torch.equal(network.enlarged(output, (9, 11)), image_BCHW[:, :2])
    assert torch.equal(network.maps(output, (9, 11)), image_BCHW[:, :1])
    assert torch.equal(label_BHW.bool(), image_BCHW[:, 1] > image_BCHW[:, 0])
    with pytest.raises(ModelFileError, match="2 maps for distance") as caught:
        load_onnx(graph_of(tmp_path / "more.onnx", told, maps=2)).labelled(image_BCHW)
    assert caught.value.code == "SK-M010"
    for changed in ('""', '"nonsense"'):
        wrong = graph_of(tmp_path / "wrong.onnx", told | {"segkit.separation": changed}, maps=1)
        with pytest.raises(ModelFileError, match="says nothing readable of itself"):
            load_onnx(wrong)
