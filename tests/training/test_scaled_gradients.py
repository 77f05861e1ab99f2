"""fp16 on a CPU, whose arithmetic is that of a GPU's: steps that its scaler skips are counted."""

import json
from functools import partial

import pytest
import torch

from segkit.training.checkpoint.checkpoints import CheckpointFolder
from segkit.training.loop import learner
from segkit.training.monitoring.progress import PlainProgress
from segkit.training.preparation import decisions
from segkit.training.training import train


@pytest.fixture
def in_fp16(settings, monkeypatch):
    """in_fp16(scale): the lines of a training that begins with this scale of its gradients."""
    scaler = torch.amp.GradScaler

    def run(scale):
        monkeypatch.setattr(decisions, "choose_precision", lambda asked, device: "fp16")
        monkeypatch.setattr(learner.torch.amp, "GradScaler", partial(scaler, init_scale=scale))
        said = []
        train(settings(precision="fp16", epochs=3), PlainProgress(said.append, said.append))
        return said

    return run


def test_every_skipped_step_is_counted_and_shown(in_fp16, tmp_path):
    said = in_fp16(2.0**22)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").open()]
    skipped = sum(line["skipped"] for line in lines)
    # The scaler halves its scale with every step that it skips.
    scale = CheckpointFolder(tmp_path / "run/checkpoints").load().state["scaler"]["scale"]
    assert skipped >= 2 and scale == 2.0**22 / 2**skipped
    first = lines[0]["skipped"]
    assert any(f"{first} steps skipped" in line for line in said)


def test_where_nothing_overflows_nothing_is_skipped(in_fp16, tmp_path):
    said = in_fp16(8.0)
    assert not any("skipped" in line for line in said)
    assert all(json.loads(line)["skipped"] == 0 for line in (tmp_path / "run/metrics.jsonl").open())
