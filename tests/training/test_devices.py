"""`segkit train --devices 2`: two processes by one command, which end, save and fail as one."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from ranks import ranks_of

from segkit.distributed import Group
from segkit.errors import UsageError
from segkit.training.checkpoint.checkpoints import CheckpointFolder

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]


@pytest.fixture
def started(tiny_settings, tmp_path):
    begun = []

    def start(**changes):
        settings = tiny_settings | {"out": str(tmp_path / "run"), "samples": 0} | changes
        assigned = [f"--set={key}={value}" for key, value in settings.items()]
        command = [sys.executable, "-m", "segkit", "train", "--devices", "2", *assigned]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        begun.append(process)
        return process, tmp_path / "run"

    yield start
    for process in begun:
        for rank in ranks_of(tmp_path):
            os.kill(rank, signal.SIGKILL)
        process.kill()
        process.communicate()


def wait_for(condition, seconds=60):
    for _ in range(int(seconds * 20)):
        if condition():
            return True
        time.sleep(0.05)
    return False


def steps_logged(run):
    log = run / "metrics.jsonl"
    return len(log.read_text().splitlines()) if log.is_file() else 0


def test_two_processes_train_one_run(started):
    process, run = started(epochs=2)
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 0, printed
    assert "2 processes" in printed
    assert printed.count("Trained 2 epochs") == 1
    assert printed.count("loading PyTorch") == 1
    assert "norms     batch norms see each process's own 2 images (--sync-norms)" in printed
    # Every parameter learns: nothing is looked for, so torch has nothing to warn of.
    assert "find_unused_parameters" not in printed and "without a gradient" not in printed
    assert [json.loads(line)["epoch"] for line in (run / "metrics.jsonl").open()] == [1, 2]


SPARE = """
import torch
from segkit.api import Features, Normalization, hookimpl

class Spare(torch.nn.Module):
    channels, strides = (4,), (2,)

    def __init__(self, in_channels, weights):
        super().__init__()
        self.normalization = Normalization((0.5,) * in_channels, (0.5,) * in_channels)
        self.convolution = torch.nn.Conv2d(in_channels, 4, 3, padding=1, stride=2)
        self.classifier = torch.nn.Linear(4, 10)

    def forward(self, image_BCHW):
        return Features((self.convolution(image_BCHW),))

@hookimpl
def segkit_encoder(name):
    return Spare if name == "spare" else None
"""


def test_parameters_that_get_no_gradient_are_found_and_said(started, tmp_path, monkeypatch):
    info = tmp_path / "site" / "spare-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: spare\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[segkit.encoders]\nspare = spare_encoder\n")
    (info.parent / "spare_encoder.py").write_text(SPARE)
    monkeypatch.setenv("PYTHONPATH", str(info.parent))
    process, _ = started(epochs=2, encoder="spare", decoder="unet")
    printed, _ = process.communicate(timeout=240)
    # Without the search torch ends the second step: gradients are waited for that never come.
    assert process.returncode == 0, printed
    assert (
        "unused    2 parameters without a gradient: encoder.classifier.weight, "
        "encoder.classifier.bias; the processes look for them in every step"
    ) in printed
    assert "find_unused_parameters" not in printed


def test_norms_over_processes_are_refused_where_pytorch_has_none():
    two = Group(0, 2, 2, torch.device("cpu"))
    with pytest.raises(UsageError, match="sync_norms is on, and 2 processes compute on cpu"):
        two.shares_norms("on")
    on_gpus, alone = Group(0, 2, 2, torch.device("cuda")), Group(0, 1, 1, torch.device("cpu"))
    shared = [each.shares_norms(asked) for each in (two, on_gpus) for asked in ("auto", "off")]
    assert shared == [False, False, True, False] and not alone.shares_norms("on")


def test_a_process_that_is_stopped_ends_the_others_within_the_timeout(started, tmp_path):
    process, run = started(epochs=20000, evaluate_every=20000, timeout=0.2)
    assert wait_for(lambda: steps_logged(run) > 2), process.stdout.read()
    os.kill(ranks_of(tmp_path)[-1], signal.SIGSTOP)
    printed, _ = process.communicate(timeout=100)
    assert process.returncode == 8, printed
    assert (
        "SK-S006: another process of the 2 is gone, or has left this one waiting for 0.2 minutes."
    ) in printed
    assert "Traceback" not in printed and ranks_of(tmp_path) == []


def test_what_is_wrong_ends_the_command_with_its_own_status(started):
    process, _ = started(batch=5)
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 2, printed
    assert "a batch of 5 cannot be shared by 2 processes" in printed
    assert "Traceback" not in printed
    assert "ChildFailedError" not in printed


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_a_signal_to_the_command_has_all_save_and_end(started, tmp_path, number, status):
    process, run = started(epochs=2000, evaluate_every=2000)
    assert wait_for(lambda: steps_logged(run) > 2), process.stdout.read()
    process.send_signal(number)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == status, printed
    [step] = re.findall(r"saved after step (\d+)", printed)
    assert CheckpointFolder(run / "checkpoints").load().state["position"]["step"] == int(step)
    assert ranks_of(tmp_path) == []


def test_a_signal_to_save_is_passed_on_and_training_goes_on(started):
    process, run = started(epochs=2000, evaluate_every=2000)
    assert wait_for(lambda: steps_logged(run) > 2), process.stdout.read()
    process.send_signal(signal.SIGUSR1)
    assert wait_for(lambda: CheckpointFolder(run / "checkpoints").any_yet())
    before = steps_logged(run)
    assert wait_for(lambda: steps_logged(run) > before)
    assert process.poll() is None


def test_when_the_command_is_killed_the_processes_save_and_end(started, tmp_path):
    process, run = started(epochs=20000, evaluate_every=20000)
    assert wait_for(lambda: steps_logged(run) > 2), process.stdout.read()
    process.kill()
    assert len(ranks_of(tmp_path)) >= 2
    assert wait_for(lambda: not ranks_of(tmp_path), seconds=20)
    assert CheckpointFolder(run / "checkpoints").any_yet()
