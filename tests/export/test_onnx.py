"""A trained network as an ONNX file: any size, the same answers, or no file at all."""

from __future__ import annotations

import contextlib
import copy
import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import segkit
from segkit.cli.export_command import command
from segkit.errors import EnvironmentFault, ModelFileError
from segkit.export import onnx_export, onnx_graph
from segkit.export.onnx_export import export_onnx
from segkit.export.onnx_graph import GraphSettings, metadata_of, traced_size
from segkit.export.quantization import quantize
from segkit.inference.onnx_network import load_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.integration
LOGITS, LABELS = GraphSettings(), GraphSettings(normalizes=True, labels=True)
WHOLE = GraphSettings(normalizes=True, labels=True, probabilities=True)
TEMPERATURE = 2.5


@pytest.fixture(scope="module")
def warm(model):
    """The model with a temperature."""
    tempered = copy.deepcopy(model)
    tempered.record = replace(model.record, temperature=TEMPERATURE)
    return tempered


@pytest.fixture(scope="module")
def whole(warm, tmp_path_factory):
    """Its file with everything inside."""
    file = tmp_path_factory.mktemp("whole") / "whole.onnx"
    return file, export_onnx(warm, file, WHOLE)


def test_the_traced_size_is_divided_by_no_stride(model):
    assert all(side % 2 for side in traced_size(model))


def test_the_graph_takes_any_batch_height_and_width(exported, model):
    file, _ = exported
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for size in ((1, 3, 40, 56), (3, 3, 33, 71), (1, 3, 97, 16)):
        image_BCHW = torch.randn(size, generator=torch.Generator().manual_seed(1))
        (found,) = session.run(None, {"image": image_BCHW.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(found, model(image_BCHW).numpy(), atol=1e-4)


def test_the_report_tells_what_was_compared(exported):
    _, report = exported
    assert [each.size for each in report.agreement] == [(1, 96, 128), (2, 75, 117), (1, 161, 90)]
    assert all(each.difference < 1e-4 for each in report.agreement)
    assert all(each.labels_differing == 0 for each in report.agreement)
    assert report.images == "pictures of the demo set"


def test_pixels_in_and_classes_and_tempered_probabilities_out(whole, warm):
    session = onnxruntime.InferenceSession(whole[0], providers=["CPUExecutionProvider"])
    pixels_BCHW = np.random.default_rng(0).uniform(0, 255, (1, 3, 50, 61)).astype(np.float32)
    label_BHW, probability_BKHW = session.run(None, {"image": pixels_BCHW})
    with torch.no_grad():
        logits_BKHW = warm(warm.normalize(torch.from_numpy(pixels_BCHW))).numpy()
    assert label_BHW.dtype == np.uint8
    assert (label_BHW == logits_BKHW.argmax(1)).mean() > 0.9999
    power_BKHW = np.exp((logits_BKHW / TEMPERATURE).astype(np.float64))
    due_BKHW = power_BKHW / power_BKHW.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probability_BKHW, due_BKHW, atol=1e-5)


@pytest.mark.parametrize("settings", [LOGITS, LABELS], ids=["logits", "labels"])
def test_a_network_with_one_output_names_background_and_foreground(tmp_path, settings):
    torch.manual_seed(0)
    binary = segkit.build_model("unet(depth=2, width=4)", num_classes=1).eval()
    with torch.no_grad():
        binary.head.bias -= binary(torch.randn(1, 3, 32, 32)).median()
    file = tmp_path / "binary.onnx"
    report = export_onnx(binary, file, settings)
    assert all(each.labels_differing == 0 for each in report.agreement)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    given_BCHW = torch.rand(1, 3, 41, 30) * 255
    (found,) = session.run(None, {"image": given_BCHW.numpy()})
    image_BCHW = binary.normalize(given_BCHW) if settings.normalizes else given_BCHW
    label_BHW = found if settings.labels else found[:, 0] > 0
    assert (label_BHW == binary.labels(image_BCHW).numpy()).mean() > 0.999
    told = {each.key: each.value for each in onnx.load(file).metadata_props}
    assert json.loads(told["segkit.classes"]) == ["background", "foreground"]


def test_the_file_tells_nothing_of_the_machine_that_wrote_it(exported, whole):
    for file, _ in (exported, whole):
        written = file.read_bytes()
        for place in (Path(segkit.__file__).parents[1], Path.home(), Path(torch.__file__).parent):
            assert str(place).encode() not in written
        assert b".py" not in written


def test_the_file_says_what_it_expects(exported, model):
    file, _ = exported
    told = {each.key: each.value for each in onnx.load(file).metadata_props}
    assert told == metadata_of(model, LOGITS)
    assert json.loads(told["segkit.input"]) == "normalized"
    assert json.loads(told["segkit.mean"]) == pytest.approx(model.encoder.normalization.mean)


def scaled_weights(graph):
    weight = max(graph.graph.initializer, key=lambda each: len(each.raw_data))
    put(weight, numbers(weight) * np.float32(1.01))


def no_numbers(graph):
    weight = max(graph.graph.initializer, key=lambda each: len(each.raw_data))
    put(weight, numbers(weight) * np.float32("nan"))


def other_mean_inside(graph):
    (mean,) = (each for each in graph.graph.initializer if each.name.endswith("mean_C11"))
    put(mean, numbers(mean) + np.float32(0.1))


def other_mean_told(graph):
    (told,) = (each for each in graph.metadata_props if each.key == "segkit.mean")
    told.value = "[0.4, 0.4, 0.4]"


def least_likely(graph):
    (node,) = (each for each in graph.graph.node if each.op_type == "ArgMax")
    node.op_type = "ArgMin"


def no_temperature(graph):
    (value,) = (each for each in graph.graph.initializer if close_to(each, TEMPERATURE))
    put(value, np.ones_like(numbers(value)))


def one_row_less(graph):
    """The first output without its last row, and with it again where the height is even."""
    shapes = onnx.numpy_helper.from_array
    graph.graph.initializer.extend(
        [shapes(np.array([v]), f"cut.{n}") for n, v in (("from", 0), ("to", -1), ("axis", -2))]
    )
    name = graph.graph.output[0].name
    for node in graph.graph.node:
        node.output[:] = ["uncut" if each == name else each for each in node.output]
    ends = ["uncut", "cut.from", "cut.to", "cut.axis"]
    graph.graph.node.append(onnx.helper.make_node("Slice", ends, [name]))


def frozen(graph):
    graph.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 64


def numbers(tensor):
    return onnx.numpy_helper.to_array(tensor)


def put(tensor, values):
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def close_to(tensor, values):
    found = numbers(tensor).ravel()
    return found.size == np.size(values) and np.allclose(found, values)


BROKEN = [
    (scaled_weights, LOGITS, "SK-M009", "disagrees with the model at 96 x 128"),
    (no_numbers, LOGITS, "SK-M009", "values differ by nan"),
    (other_mean_told, LOGITS, "SK-M009", "disagrees with the model at 96 x 128"),
    (one_row_less, LOGITS, "SK-M009", "(1, 5, 95, 128) for 1 images of 96 x 128"),
    (frozen, LOGITS, "SK-M008", "gives logits tensor(float) (any, 5, 64, any)"),
    (other_mean_inside, WHOLE, "SK-M009", "disagrees with the model at 96 x 128"),
    (least_likely, WHOLE, "SK-M009", "labels do (allowed: 1e-04 and 0)"),
    (no_temperature, WHOLE, "SK-M009", "disagrees with the model at 96 x 128"),
]


@pytest.mark.parametrize("way", BROKEN, ids=lambda way: way[0].__name__)
def test_a_graph_broken_on_purpose_is_refused(exported, whole, model, warm, way, tmp_path):
    break_it, settings, code, why = way
    broken = onnx.load((exported if settings is LOGITS else whole)[0])
    break_it(broken)
    target = tmp_path / "out" / "model.onnx"
    with (
        mock.patch.object(onnx_export, "to_onnx", lambda *given: onnx.save(broken, given[2])),
        pytest.raises(ModelFileError, match=re.escape(why)) as caught,
    ):
        export_onnx(model if settings is LOGITS else warm, target, settings)
    assert caught.value.code == code
    assert list(target.parent.iterdir()) == []


def test_a_network_that_is_traced_too_long_is_given_up(model, tmp_path, monkeypatch):
    def trace(*_, **__):
        while True:
            with contextlib.suppress(Exception):
                time.sleep(0.01)

    monkeypatch.setattr("torch.onnx.export", trace)
    with pytest.raises(ModelFileError, match=r"has not ended after 0.005 minutes") as caught:
        export_onnx(model, tmp_path / "model.onnx", minutes=0.005)
    assert caught.value.code == "SK-M011"
    assert "Give it longer: --minutes 0.015." in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_probabilities_in_8_bits_add_up_to_1(whole, tmp_path):
    random = np.random.default_rng(0)
    pixels_BCHW = random.uniform(0, 255, (2, 3, 50, 61)).astype(np.float32)
    quantize(whole[0], tmp_path / "int8.onnx", "static", [pixels_BCHW])
    found = load_onnx(tmp_path / "int8.onnx").run(torch.from_numpy(pixels_BCHW))
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, atol=1e-5)
    assert (found["probabilities"].argmax(axis=1) == found["labels"]).mean() > 0.99


def test_a_single_class_is_everywhere_whatever_its_logit():
    one = segkit.build_model("unet(depth=2, width=4)", num_classes=1).eval()
    one.record = replace(one.record, classes=("cell",))
    with torch.no_grad():
        one.head.bias += 100
        (label_BHW,) = onnx_graph.DeployedNetwork(one, LABELS, 255.0)(torch.rand(1, 3, 20, 20))
    assert label_BHW.shape == (1, 20, 20) and not label_BHW.any()


def test_weights_that_no_file_holds_are_refused_before_tracing(tmp_path):
    with torch.device("meta"):
        huge = segkit.build_model("unet(depth=5, width=340)", num_classes=2)
    with pytest.raises(ModelFileError, match=r"bytes of weights, and an ONNX file holds less"):
        onnx_graph.to_onnx(huge, LOGITS, tmp_path / "model.onnx")


def test_an_ensemble_becomes_one_graph_of_its_mean_probabilities(model, tmp_path):
    torch.manual_seed(1)
    other = segkit.build_model("unet(depth=2, width=4)", num_classes=5).eval()
    for place, member in enumerate((model, other)):
        segkit.save_model(member, tmp_path / str(place))
    together = segkit.load_model([tmp_path / "0", tmp_path / "1"])
    segkit.save_model(together, tmp_path / "both", temperature=TEMPERATURE)
    arguments = [str(tmp_path / "both"), "--labels", "--probabilities", "--normalize"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "probabilities within" in done.output and "labels equal" in done.output
    network = load_onnx(tmp_path / "both" / "model.onnx")
    pixels_BCHW = torch.rand(2, 3, 41, 50, generator=torch.Generator().manual_seed(0)) * 255
    found = network.run(pixels_BCHW)
    with torch.no_grad():
        each = [one(one.normalize(pixels_BCHW)).double().softmax(1) for one in (model, other)]
    mean_BKHW = sum(each) / 2
    np.testing.assert_array_equal(found["labels"], mean_BKHW.argmax(1))
    warm_BKHW = mean_BKHW ** (1 / TEMPERATURE)
    due_BKHW = warm_BKHW / warm_BKHW.sum(1, keepdim=True)
    np.testing.assert_allclose(found["probabilities"], due_BKHW, atol=1e-5)


def test_a_network_that_cannot_be_traced_is_refused_in_a_line_of_plain_text(
    model, tmp_path, monkeypatch, capfd
):
    def fail(*_, **__):
        sys.stdout.write("a page of the graph")
        raise RuntimeError("Failed. \x1b[96mThis is step 1/3\x1b[0m") from ValueError(
            "\x1b[1mcannot guard on u0\x1b[0m\nmore"
        )

    monkeypatch.setattr("torch.onnx.export", fail)
    with pytest.raises(ModelFileError) as caught:
        onnx_graph.to_onnx(model, LOGITS, tmp_path / "model.onnx")
    assert caught.value.code == "SK-M008"
    assert "(ValueError: cannot guard on u0)" in str(caught.value)
    assert "\x1b" not in str(caught.value) and capfd.readouterr() == ("", "")


def test_a_file_that_was_there_survives_a_refusal(model, tmp_path, monkeypatch):
    target = tmp_path / "model.onnx"
    target.write_text("the last good one")

    def refuse(*_):
        raise ModelFileError("SK-M008", "no graph.")

    monkeypatch.setattr("segkit.export.onnx_export.to_onnx", refuse)
    with pytest.raises(ModelFileError):
        export_onnx(model, target)
    assert target.read_text() == "the last good one"
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match="onnx and onnxscript and onnxruntime") as caught:
        onnx_graph.require_onnx()
    assert caught.value.fix == "python -m pip install onnx onnxscript onnxruntime"


def test_the_command_writes_beside_the_run_and_refuses_to_replace(model, tmp_path):
    segkit.save_model(
        model, tmp_path / "run" / "model", classes=("a", "b", "[red]", "=d()", "<script>")
    )
    runner = CliRunner()
    done = runner.invoke(command, [str(tmp_path / "run"), "--labels"])
    assert done.exit_code == 0, done.output
    assert "161 x 90 (height x width): labels equal" in done.output
    assert re.search(r"^traced in \d+ s, compared in \d+ s$", done.output, re.MULTILINE)
    again = runner.invoke(command, [str(tmp_path / "run")])
    assert "model.onnx exists already" in str(again.exception)
    told = {e.key: e.value for e in onnx.load(tmp_path / "run" / "model.onnx").metadata_props}
    assert json.loads(told["segkit.classes"]) == ["a", "b", "[red]", "=d()", "<script>"]
