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
    with pytest.raises(UsageError, match="Export the model without --labels, or with --prob"):
        predict(place, "labels.onnx", "tta", tta=True)


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"device": "cuda"}])
def test_what_onnxruntime_does_not_do_is_refused(place, options):
    with pytest.raises(UsageError, match="computed by onnxruntime on the CPU in fp32"):
        predict(place, "logits.onnx", "refused", **options)


def identity(told, image=(None, 3, None, None), kind=onnx.TensorProto.FLOAT, inputs=("image",)):
    """A graph that gives its first input, with metadata."""
    axes = [f"axis{place}" if side is None else side for place, side in enumerate(image)]
    values = [onnx.helper.make_tensor_value_info(name, kind, axes) for name in inputs]
    out = onnx.helper.make_tensor_value_info("logits", kind, axes)
    node = onnx.helper.make_node("Identity", [inputs[0]], ["logits"])
    graph = onnx.helper.make_graph([node], "elsewhere", values, [out])
    opset = [onnx.helper.make_opsetid("", 18)]
    made = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    onnx.helper.set_model_props(made, told)
    return made


def outside(told, where):
    """One whose weights lie in another file: of the graph, of a constant, or in sparse form."""
    made, values = identity(told), np.zeros(4, np.float32)
    tensor = onnx.numpy_helper.from_array(values, "weight")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    if where == "initializer":
        made.graph.initializer.append(tensor)
    elif where == "constant":
        made.graph.node.append(onnx.helper.make_node("Constant", [], ["weight"], value=tensor))
    elif where == "sparse":
        places = onnx.numpy_helper.from_array(np.arange(4), "places")
        made.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(tensor, places, [9]))
    else:
        node = onnx.helper.make_node("Constant", [], ["weight"], value=tensor)
        opset = [onnx.helper.make_opsetid("", 18)]
        made.functions.append(
            onnx.helper.make_function("own", "own", [], ["weight"], [node], opset)
        )
    return made


def test_files_from_elsewhere_are_refused_with_the_reason(place, tmp_path):
    written = (place / "logits.onnx").read_bytes()
    told = {each.key: each.value for each in onnx.load_from_string(written).metadata_props}
    never = "keeps weights in another file, '../../etc/passwd', which is never opened"
    due = "due are image tensor(float) (any, channels, any, any) and logits"
    two, half = ("image", "mask"), onnx.TensorProto.FLOAT16
    cases = [
        (identity({}), "does not say what its classes and pixels mean"),
        (identity({"segkit.format": "segkit-onnx/9"}), "is of format segkit-onnx/9"),
        *((outside(told, where), never) for where in ("initializer", "constant", "sparse", "own")),
        (identity(told | {"segkit.output": '"labels"'}), "and labels for any batch"),
        (identity(told | {"segkit.output": '["heat"]'}), "(output ['heat'])"),
        (identity(told | {"segkit.mean": "[null]"}), "says nothing readable of itself"),
        (identity(told, inputs=("input.1",)), "takes input.1 tensor(float) (any, 3, any, any) and"),
        (identity(told, inputs=two), "takes image tensor(float) (any, 3, any, any), mask tensor"),
        (identity(told, (None, None, None, 3)), "takes image tensor(float) (any, any, any, 3) and"),
        (identity(told, (1, 3, 64, 64)), "takes image tensor(float) (1, 3, 64, 64) and gives"),
        (identity(told, (None, 3, None)), "takes image tensor(float) (any, 3, any) and gives"),
        (identity(told, kind=half), "takes image tensor(float16) (any, 3, any, any)"),
    ]
    for bad, why in cases:
        assert_refused(tmp_path, bad.SerializeToString(), why)
        assert (due in refusal(tmp_path)) == why.startswith("takes")
    assert_refused(tmp_path, b"", "has 0 bytes")
    assert_refused(tmp_path, b"<html>", "is damaged, or no ONNX file")
    for share in (0.1, 0.5, 0.9, 0.99):
        assert_refused(tmp_path, written[: int(share * len(written))], "")


def refusal(folder):
    with pytest.raises(ModelFileError) as caught:
        load_onnx(folder / "bad.onnx")
    assert caught.value.code == "SK-M010"
    assert caught.value.fix.startswith("Only files that `segkit export RUN` wrote")
    return str(caught.value.what)


def assert_refused(folder, content, why):
    (folder / "bad.onnx").write_bytes(content)
    assert why in refusal(folder)


def test_a_file_larger_than_a_graph_can_be_is_refused_unread(tmp_path):
    with (tmp_path / "bad.onnx").open("wb") as file:
        file.truncate(2**31)
    assert "has 2,147,483,648 bytes" in refusal(tmp_path)


def test_probabilities_of_either_kind_of_file_are_the_runs_own(place):
    segkit.save_model(segkit.load_model(place / "run"), place / "warm/model", temperature=2.5)
    model = segkit.load_model(place / "warm")
    to_onnx(model, GraphSettings(), place / "warm.onnx")
    to_onnx(model, GraphSettings(labels=True, probabilities=True), place / "sure.onnx")
    image = place / "images/a.png"
    due = segkit.predict(place / "warm", image, probabilities=True, precision="fp32")
    for name in ("warm.onnx", "sure.onnx"):
        found = segkit.predict(place / name, image, probabilities=True)
        np.testing.assert_allclose(found.probabilities, due.probabilities, atol=1e-5)
        assert (found.labels == due.labels).mean() > 0.999
        predict(place, name, f"of-{name}", uncertainty=True, tta=True)
    tables = [(place / f"of-{name}.onnx/summary.csv").read_text() for name in ("warm", "sure")]
    assert tables[0].splitlines()[0] == tables[1].splitlines()[0]
    doubts = [
        np.asarray(Image.open(next((place / f"of-{name}.onnx").rglob("*uncert*/a.png"))))
        for name in ("warm", "sure")
    ]
    assert np.abs(doubts[0].astype(int) - doubts[1]).max() <= 1


def test_labels_that_no_class_has_are_refused(place, tmp_path):
    graph = onnx.load(place / "labels.onnx")
    for each in graph.metadata_props:
        each.value = '["a", "b"]' if each.key == "segkit.classes" else each.value
    (tmp_path / "two.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(ModelFileError, match="gives labels from 0 to 2 for 2 classes"):
        segkit.predict(tmp_path / "two.onnx", place / "images/a.png")


def test_a_file_of_other_classes_than_its_graph_has_is_refused(place, tmp_path):
    graph = onnx.load(place / "logits.onnx")
    for each in graph.metadata_props:
        each.value = '["a", "b"]' if each.key == "segkit.classes" else each.value
    (tmp_path / "two.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(ModelFileError, match="gives 3 values a pixel for 2 classes"):
        segkit.predict(tmp_path / "two.onnx", place / "images/a.png")
