"""`segkit train --devices 2 --max-restarts 1`: a killed process costs nothing but time."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from ranks import ranks_of

from segkit import distributed
from segkit.training.checkpoint.checkpoints import CheckpointFolder

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


def command(settings, folder, *words):
    given = [f"--set={key}={value}" for key, value in (settings | {"out": str(folder)}).items()]
    return [sys.executable, "-m", "segkit", "train", "--devices", "2", *words, *given]


@LINUX
@pytest.mark.slow
def test_after_a_kill_it_ends_bitwise_as_one_that_nothing_happened_to(tiny_settings, tmp_path):
    settings = tiny_settings | {"samples": 0, "epochs": 12, "checkpoint_steps": 1}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(settings, whole), check=True, capture_output=True, timeout=240)
    process = subprocess.Popen(
        command(settings, killed, "--max-restarts", "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    checkpoints = CheckpointFolder(killed / "checkpoints")
    while not checkpoints.any_yet():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)
    os.kill(ranks_of(killed)[-1], signal.SIGKILL)
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 0, printed
    assert "going on from the last checkpoint (0 restarts left)" in printed
    assert [each.name for each in tmp_path.glob("killed*")] == ["killed"]
    one, other = (CheckpointFolder(each / "checkpoints").load() for each in (whole, killed))
    for group, tensors in one.tensors.items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, other.tensors[group][name]), f"{group}/{name}"
    logs = [
        [json.loads(line) for line in (each / "metrics.jsonl").open()] for each in (whole, killed)
    ]
    assert [r["epoch"] for r in logs[1]] == list(range(1, 13))
    for name in ("loss", "val_loss", "scores"):
        assert [r[name] for r in logs[0]] == [r[name] for r in logs[1]]
    # With another number of processes, and so of threads, it goes on and says what that costs.
    alone = [sys.executable, "-m", "segkit", "train", "--resume", str(killed), "--epochs", "13"]
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    ran = subprocess.run(alone, env=environment, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr
    assert "The run had 2 processes and now has 1: it continues, but not bit by bit" in ran.stderr
    assert len((killed / "metrics.jsonl").read_text().splitlines()) == 13


@pytest.mark.parametrize(
    ("statuses", "started"),
    [
        ([0], 1),
        ([137, 0], 2),
        ([1, 137, 0], 3),
        ([137, 137, 137, 0], 3),
        ([2], 1),
        ([6], 1),
        ([143], 1),
        ([130], 1),
    ],
)
def test_only_what_may_go_well_another_time_is_restarted(monkeypatch, statuses, started):
    left, told = iter(statuses), []
    monkeypatch.setattr(distributed, "_launched", lambda *_: next(left))
    status = distributed.launch(2, ["train"], 2, told.append)
    assert len(told) == started - 1
    assert status == statuses[started - 1]


def test_one_process_restarts_nothing():
    ran = subprocess.run(
        [sys.executable, "-m", "segkit", "train", "--max-restarts", "1"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 2
    assert "SK-C009: --max-restarts 1 watches over several processes, and there is one." in (
        ran.stderr
    )
