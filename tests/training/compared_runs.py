"""How two runs are compared: bit by bit, but for the times in their logs."""

import json

import torch

from segkit.training.checkpoint.checkpoints import CheckpointFolder


def final_state(folder):
    """Every tensor and counter a run ended with."""
    checkpoint = CheckpointFolder(folder / "checkpoints").load()
    tensors = {
        f"{group}/{name}": tensor
        for group, members in checkpoint.tensors.items()
        for name, tensor in members.items()
    }
    return tensors, checkpoint.state["position"]


def assert_same(first, second):
    first_tensors, first_position = final_state(first)
    second_tensors, second_position = final_state(second)
    assert first_position == second_position
    assert first_tensors.keys() == second_tensors.keys()
    different = [n for n, t in first_tensors.items() if not torch.equal(t, second_tensors[n])]
    assert different == []


def logged(folder):
    """The log without the times, which differ from run to run."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: line[k] for k in ("epoch", "step", "loss", "scores", "is_best")} for line in lines]
