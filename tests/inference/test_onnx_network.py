"""An exported file predicts as its model does; any other file is refused with the reason."""

import numpy as np
import pytest
import torch
from PIL import Image

import segkit
from segkit.errors import ModelFileError, UsageError
from segkit.export.onnx_graph import GraphSettings, to_onnx
from segkit.inference.files import predict_to_folder
from segkit.inference.onnx_network import load_onnx
from segkit.inference.output import Output
from segkit.inference.prediction_settings import PredictionSettings

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run, its two exports, and images of two sizes."""
    root = tmp_path_factory.mktemp("onnx")
    torch.manual_seed(0)
    model = segkit.build_model("unet(width=4, depth=2)", num_classes=3).eval()
    random = np.random.default_rng(0)
    (root / "images").mkdir()
    for name, size in (("a", (40, 51)), ("b", (33, 90))):
        pixels_HWC = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels_HWC).save(root / f"images/{name}.png")
    with torch.no_grad():
        image_BCHW = torch.from_numpy(pixels_HWC).permute(2, 0, 1)[None]
        found_BKHW = model(model.normalize(image_BCHW))
        model.head.bias -= found_BKHW.flatten(2).median(dim=2).values[0]
    segkit.save_model(model, root / "run/model", classes=("ground", "cell", "gap"), background=2)
    model = segkit.load_model(root / "run")
    to_onnx(model, GraphSettings(), root / "logits.onnx")
    to_onnx(model, GraphSettings(normalizes=True, labels=True), root / "labels.onnx")
    return root


def predict(place, model, out, **options):
    written = {name: options.pop(name) for name in ("objects", "uncertainty") if name in options}
    asked = PredictionSettings(str(place / model), **{"precision": "fp32", **options})
    return predict_to_folder(asked, [place / "images"], Output(place / out, **written))


def test_the_file_gives_the_runs_masks_objects_tiles_and_doubt(place):
    for number, options in enumerate(
        [{"objects": True}, {"tile": 32}, {"uncertainty": True, "tta": True}]
    ):
        torch_out, onnx_out = f"torch{number}", f"onnx{number}"
        predict(place, "run", torch_out, **options)
        report = predict(place, "logits.onnx", onnx_out, **options)
        assert report.precision == "fp32"
        for name in ("a", "b"):
            one, other = (
                np.asarray(Image.open(place / out / f"masks/{name}.png"))
                for out in (torch_out, onnx_out)
            )
            assert (one == other).mean() > 0.999
            assert len(np.unique(one)) == 3
    tables = [(place / f"{kind}0/objects.csv").read_text() for kind in ("torch", "onnx")]
    assert tables[0].count("\n") > 3
    assert [t.splitlines()[0] for t in tables] == [tables[0].splitlines()[0]] * 2


def test_a_graph_that_gives_classes_predicts_whole_images_and_nothing_more(place):
    predict(place, "labels.onnx", "classes")
    answer = segkit.predict(place / "labels.onnx", place / "images/a.png")
    written = np.asarray(Image.open(place / "classes/masks/a.png"))
    assert np.array_equal(answer.labels, written)
    expected = segkit.predict(place / "run", place / "images/a.png", precision="fp32").labels
    assert (written == expected).mean() > 0.999
    with pytest.raises(UsageError, match="Export the model without --labels"):
        predict(place, "labels.onnx", "tta", tta=True)


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"device": "cuda"}])
def test_what_onnxruntime_does_not_do_is_refused(place, options):
    with pytest.raises(UsageError, match="computed by onnxruntime on the CPU in fp32"):
        predict(place, "logits.onnx", "refused", **options)


def test_files_from_elsewhere_are_refused_with_the_reason(place, tmp_path):
    graph = onnx.load(place / "logits.onnx")
    cases = {}
    strange = onnx.ModelProto()
    strange.CopyFrom(graph)
    del strange.metadata_props[:]
    cases["does not say what its classes and pixels mean"] = strange
    outside = onnx.ModelProto()
    outside.CopyFrom(graph)
    tensor = outside.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    cases["keeps weights in another file, '../../etc/passwd', which is never opened"] = outside
    renamed = onnx.ModelProto()
    renamed.CopyFrom(graph)
    for each in renamed.metadata_props:
        each.value = '"labels"' if each.key == "segkit.output" else each.value
    cases["takes ['image'] and gives ['logits']"] = renamed
    for number, (why, bad) in enumerate(cases.items()):
        file = tmp_path / f"{number}.onnx"
        file.write_bytes(bad.SerializeToString())
        with pytest.raises(ModelFileError) as caught:
            load_onnx(file)
        assert caught.value.code == "SK-M010"
        assert why in caught.value.what
    (tmp_path / "text.onnx").write_text("<html>")
    with pytest.raises(ModelFileError, match="is damaged, or no ONNX file"):
        load_onnx(tmp_path / "text.onnx")


def test_a_file_of_other_classes_than_its_graph_has_is_refused(place, tmp_path):
    graph = onnx.load(place / "logits.onnx")
    for each in graph.metadata_props:
        each.value = '["a", "b"]' if each.key == "segkit.classes" else each.value
    (tmp_path / "two.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(ModelFileError, match="gives 3 values a pixel for 2 classes"):
        segkit.predict(tmp_path / "two.onnx", place / "images/a.png")
