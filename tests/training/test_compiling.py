"""--compile: the same training, and refusals before it begins."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch

from segkit.config import layered
from segkit.errors import EnvironmentFault, UsageError
from segkit.training.optimization import compiling
from segkit.training.optimization.compiling import compiled, refuse_to_compile
from segkit.training.training import train

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def losses(tiny_settings, folder, **changes) -> list[float]:
    # Generated code draws other numbers for dropout.
    parts = {"encoder": "unet(width=4)", "decoder": "unet", "size": 32, "lr": 1e-4}
    parts |= {"freeze": "encoder", "thaw_epoch": 2}
    train(layered(None, tiny_settings | parts | {"out": str(folder)} | changes))
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.fixture
def captured(monkeypatch):
    """Compiles without generating code, which takes minutes, and counts the captures."""
    captures = []

    def backend(graph, inputs):
        captures.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    torch.compiler.reset()
    return captures


@pytest.mark.integration
def test_a_compiled_training_has_the_losses_of_a_plain_one(tiny_settings, tmp_path, captured):
    plain = losses(tiny_settings, tmp_path / "plain")
    assert not captured
    found = losses(tiny_settings, tmp_path / "compiled", compile="yes")
    assert captured
    assert found == pytest.approx(plain, rel=1e-4)


@pytest.mark.slow
def test_generated_code_has_the_losses_of_a_plain_training(tiny_settings, tmp_path):
    plain = losses(tiny_settings, tmp_path / "plain")
    found = losses(tiny_settings, tmp_path / "compiled", compile="yes")
    assert found == pytest.approx(plain, rel=1e-3)


def test_without_it_the_network_is_the_very_one():
    network = torch.nn.Conv2d(1, 1, 1)
    assert compiled(network, "no") is network


@pytest.mark.parametrize("how", ["no", "yes", "graph"])
def test_yaml_may_write_it_without_quotes(tmp_path, how):
    (tmp_path / "a.yaml").write_text(f"compile: {how}\n")
    assert layered(tmp_path / "a.yaml").compile == how
    assert layered(assignments=[f"compile={how}"]).compile == how


def test_graphs_without_cuda_are_refused():
    refuse_to_compile("graph", CUDA)
    with pytest.raises(UsageError, match=r"SK-C009.*CUDA graphs.*runs on cpu"):
        refuse_to_compile("graph", CPU)


def test_a_machine_without_a_compiler_is_told_before_the_data_are_read(monkeypatch):
    refuse_to_compile("no", CPU)
    monkeypatch.setattr(compiling.shutil, "which", lambda _: None)
    refuse_to_compile("no", CPU)
    with pytest.raises(EnvironmentFault, match=r"(?s)SK-E003.*C\+\+ compiler.*Install one"):
        refuse_to_compile("yes", CPU)
