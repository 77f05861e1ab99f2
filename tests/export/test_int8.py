"""A network in 8-bit integers: what it costs is scored, said and kept, or no file is written."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from PIL import Image

import segkit
from segkit.bench.export_speed import speed_beside
from segkit.bench.runner.settings import Settings
from segkit.data.opening.demo import open_demo
from segkit.errors import ModelFileError, UsageError
from segkit.export.int8 import METADATA, Int8Settings, export_int8
from segkit.inference.onnx_network import load_onnx

onnx = pytest.importorskip("onnx")
metrics = pytest.importorskip("sklearn.metrics")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def data():
    return open_demo(in_channels=3)


@pytest.fixture(scope="module", params=["static", "dynamic"])
def int8(request, exported, data, tmp_path_factory):
    file = tmp_path_factory.mktemp("int8") / "model.int8.onnx"
    return file, export_int8(exported[0], file, data, Int8Settings(request.param, "val", "demo"))


@cache
def predicted_by(file):
    network, validation = load_onnx(file), open_demo(in_channels=3).split("val")
    samples = [validation[place] for place in range(len(validation))]
    labels = [segkit.predict(network, each.image).labels for each in samples]
    return np.stack(labels), np.stack([each.mask for each in samples])


def test_both_scores_are_those_of_the_files_own_masks(int8, exported):
    file, found = int8
    for each, score in ((exported[0], found.float_score), (file, found.score)):
        label_NHW, truth_NHW = predicted_by(each)
        ious = metrics.jaccard_score(truth_NHW.ravel(), label_NHW.ravel(), average=None)
        assert score.value == pytest.approx(ious.mean(), abs=1e-12)
    assert found.difference.value == found.score.value - found.float_score.value
    one, two = (predicted_by(each)[0] for each in (exported[0], file))
    assert found.labels_differing == (one != two).sum() > 0


def test_weights_take_a_quarter_and_the_metadata_say_what_that_costs(int8, exported):
    file, found = int8
    assert found.bytes == file.stat().st_size
    small, large = (
        sum(onnx.numpy_helper.to_array(e).nbytes for e in filter(of_convolution, initial(each)))
        for each in (file, exported[0])
    )
    assert 0.24 < small / large < 0.3
    told = {each.key: each.value for each in onnx.load(file).metadata_props}
    assert json.loads(told[METADATA])["difference"] == found.difference.as_json()
    assert json.loads(told["segkit.classes"]) == list(load_onnx(exported[0]).record.label_names)
    assert found.calibrated_on == (64 if found.method == "static" else 0)


def initial(file):
    return onnx.load(file).graph.initializer


def of_convolution(tensor):
    return len(tensor.dims) == 4


def test_evaluate_takes_the_file_and_finds_the_same(int8, data, tmp_path):
    file, found = int8
    validation = data.split("val")
    for place in range(len(validation)):
        for kind, pixels in (
            ("images", validation[place].image),
            ("masks", validation[place].mask),
        ):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / kind / f"{place:02}.png")
    scores = segkit.evaluate(file, tmp_path, split="all", metric="miou", workers=0)
    assert scores.scores.values["miou"] == pytest.approx(found.score.value)
    assert scores.device.startswith("cpu") and scores.precision == "fp32"
    with pytest.raises(UsageError, match="computed by onnxruntime on the CPU in fp32"):
        segkit.evaluate(str(file), precision="bf16")


def test_a_graph_that_cannot_be_quantised_leaves_the_file_that_was_there(
    exported, data, tmp_path, monkeypatch
):
    def fail(*_, **__):
        raise RuntimeError("no such operation")

    monkeypatch.setattr("onnxruntime.quantization.quantize_static", fail)
    target = tmp_path / "model.onnx"
    target.write_text("the last good one")
    with pytest.raises(ModelFileError, match=r"in 8 bits \(RuntimeError: no such op") as caught:
        export_int8(exported[0], target, data, Int8Settings("static", "val", "demo"))
    assert caught.value.code == "SK-M008"
    assert [each.read_text() for each in tmp_path.iterdir()] == ["the last good one"]


@pytest.mark.slow
def test_speed_is_measured_in_the_same_rounds_with_a_control(exported):
    file = exported[0]
    copy = file.with_name("copy.onnx")
    copy.write_bytes(file.read_bytes())
    found = speed_beside(copy, file, Settings(rounds=2, round_seconds=0.05))
    assert found.low <= found.times_as_fast <= found.high
    assert found.times_as_fast == pytest.approx(found.other_seconds / found.seconds, rel=0.5)
    assert found.band > 1
