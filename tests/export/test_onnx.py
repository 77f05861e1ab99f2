"""A trained network as an ONNX file: any size, the same answers, or no file at all."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import segkit
from segkit.cli.export_command import command
from segkit.errors import EnvironmentFault, ModelFileError
from segkit.export import onnx_graph
from segkit.export.onnx_export import compare, export_onnx
from segkit.export.onnx_graph import GraphSettings, metadata_of, require_free_axes, traced_size

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.integration
LOGITS, WHOLE = GraphSettings(), GraphSettings(normalizes=True, labels=True)


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


def test_pixels_in_and_classes_out(model, tmp_path):
    file = tmp_path / "whole.onnx"
    export_onnx(model, file, WHOLE)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    pixels_BCHW = np.random.default_rng(0).uniform(0, 255, (1, 3, 50, 61)).astype(np.float32)
    (found,) = session.run(None, {"image": pixels_BCHW})
    with torch.no_grad():
        logits_BKHW = model(model.normalize(torch.from_numpy(pixels_BCHW)))
    assert found.dtype == np.uint8
    assert (found == logits_BKHW.argmax(1).numpy()).mean() > 0.9999


@pytest.mark.parametrize("settings", [LOGITS, WHOLE], ids=["logits", "labels"])
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


def test_the_file_says_what_it_expects(exported, model):
    file, _ = exported
    told = {each.key: each.value for each in onnx.load(file).metadata_props}
    assert told == metadata_of(model, LOGITS)
    assert json.loads(told["segkit.input"]) == "normalized"
    assert json.loads(told["segkit.mean"]) == pytest.approx(model.encoder.normalization.mean)


def test_a_graph_whose_numbers_were_changed_is_refused(exported, model, tmp_path, monkeypatch):
    file, _ = exported
    broken = onnx.load(file)
    weight = max(broken.graph.initializer, key=lambda each: len(each.raw_data))
    values = onnx.numpy_helper.to_array(weight) * np.float32(1.01)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    monkeypatch.setattr(
        "segkit.export.onnx_export.to_onnx", lambda model, settings, at: onnx.save(broken, at)
    )
    target = tmp_path / "out" / "model.onnx"
    with pytest.raises(ModelFileError, match="disagrees with the model at 96 x 128") as caught:
        export_onnx(model, target)
    assert caught.value.code == "SK-M009"
    assert list(target.parent.iterdir()) == []


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


def test_a_frozen_axis_is_refused(exported, tmp_path):
    file, _ = exported
    frozen = onnx.load(file)
    frozen.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 64
    onnx.save(frozen, tmp_path / "frozen.onnx")
    with pytest.raises(ModelFileError, match="'logits' is frozen: axis 2 is 64"):
        require_free_axes(tmp_path / "frozen.onnx")


def test_an_output_of_another_size_is_refused(exported, model, monkeypatch):
    file, _ = exported
    monkeypatch.setattr(type(model), "forward", lambda self, image: image[..., :-1])
    with pytest.raises(ModelFileError, match=r"the graph gives \(1, 5, 96, 128\)"):
        list(compare(model, file, LOGITS))


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
    again = runner.invoke(command, [str(tmp_path / "run")])
    assert "model.onnx exists already" in str(again.exception)
    told = {e.key: e.value for e in onnx.load(tmp_path / "run" / "model.onnx").metadata_props}
    assert json.loads(told["segkit.classes"]) == ["a", "b", "[red]", "=d()", "<script>"]
