"""Where an export writes: never over what a model or a run is made of, and no record that lies."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import segkit
from segkit.cli.export_command import command
from segkit.data.opening.demo import open_demo
from segkit.errors import UsageError
from segkit.export.record_file import record_file, remove_record, write_record

RUN_FILES = (
    "config.yaml",
    "metrics.csv",
    "metrics.jsonl",
    "report.html",
    "checkpoints/1/state.json",
)


@pytest.fixture
def run(model, tmp_path):
    """A run folder with a model of the demo set's classes."""
    for name in RUN_FILES[1:]:
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text(f"of {name}")
    classes = tuple(open_demo(in_channels=3).classes)
    segkit.save_model(model, tmp_path / "run" / "model", classes=classes)
    return tmp_path / "run"


def demo_folder(folder):
    """Two images of the demo set as files."""
    samples = open_demo(in_channels=3).split("val")
    for place in range(2):
        for kind in ("image", "mask"):
            (folder / f"{kind}s").mkdir(parents=True, exist_ok=True)
            pixels = getattr(samples[place], kind).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{kind}s/{place}.png")
    return folder


def contents(folder):
    return {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.mark.integration
def test_an_export_changes_no_file_of_a_run_or_a_model(run, exported, tmp_path, monkeypatch):
    graph = exported[0].read_bytes()
    monkeypatch.setattr(
        "segkit.export.onnx_export.to_onnx", lambda *given: given[2].write_bytes(graph)
    )
    before, data = contents(run), demo_folder(tmp_path / "data")
    for place in (".", "model", "checkpoints/1"):
        target = run / place / "model.onnx"
        arguments = [str(run), "--out", str(target), "--data", str(data), "--split", "all"]
        arguments += ["--int8", "static", "--no-speed"]
        CliRunner().invoke(command, arguments, catch_exceptions=False)
        after = contents(run)
        assert {name: after[name] for name in before} == before
        assert set(after) - set(before) == {target, record_file(target)}
        assert json.loads(record_file(target).read_text())["file"] == str(target)
        # The float file that takes its place leaves no record of 8 bits behind.
        CliRunner().invoke(command, [*arguments[:3], "--overwrite"], catch_exceptions=False)
        assert set(contents(run)) - set(before) == {target}
        target.unlink()
    segkit.load_model(run)


@pytest.mark.parametrize("name", [*RUN_FILES, "model/model.json", "model/model.safetensors"])
def test_a_name_that_a_run_or_a_model_uses_is_refused(tmp_path, name):
    asked = [str(tmp_path), "--out", str(tmp_path / name), "--overwrite"]
    done = CliRunner().invoke(command, asked)
    assert isinstance(done.exception, UsageError)
    assert f"{name} is no .onnx file" in str(done.exception)


def test_a_record_that_is_there_is_kept_without_overwrite(tmp_path):
    (tmp_path / "model.onnx.json").write_text("mine")
    done = CliRunner().invoke(
        command, [str(tmp_path), "--int8", "static", "--out", str(tmp_path / "model.onnx")]
    )
    assert "model.onnx.json exists already" in str(done.exception)
    assert (tmp_path / "model.onnx.json").read_text() == "mine"


def test_only_a_record_of_ours_is_removed_with_its_file(tmp_path):
    ours, other = tmp_path / "a.onnx", tmp_path / "b.onnx"
    write_record(ours, {"command": "segkit export a", "float_bytes": 1})
    record_file(other).write_text('{"labels": ["cell"]}')
    for each in (ours, other, tmp_path / "c.onnx"):
        remove_record(each)
    assert [each.name for each in tmp_path.iterdir()] == ["b.onnx.json"]


def test_a_model_of_the_hub_is_not_written_beside():
    done = CliRunner().invoke(command, ["hf:someone/cells"])
    assert "hf:someone/cells is no folder of this machine" in str(done.exception)
    assert done.exception.fix == "Say where: --out cells.onnx"
