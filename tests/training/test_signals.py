"""Signals to a training in a process of its own: what was trained is saved, and goes on bitwise."""

import json
import signal
import subprocess
import sys
import time

import pytest

from segkit.config import layered
from segkit.distributed import Group
from segkit.training.signals import GO_ON, SAVE, Requests, Signals
from segkit.training.training import resume, train

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
SLOW = """
import sys, time
from segkit.training.loop import learner
step = learner.Learner.step
def slowly(self, batch, number):
    time.sleep(0.15)
    return step(self, batch, number)
learner.Learner.step = slowly
from segkit.cli.main import main
main(sys.argv[1:])
"""


@pytest.fixture
def started(tiny_settings, tmp_path):
    """started(workers=0): `segkit train` in a process of its own, each step 0.15 s longer."""
    begun = []

    def start(**changes):
        run = tmp_path / "run"
        settings = tiny_settings | {"epochs": 4, "samples": 0, "out": str(run)} | changes
        command = [sys.executable, "-c", SLOW, "train"]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        begun.append(process)
        return process, run

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def wait_for(condition, process):
    for _ in range(600):
        if condition():
            return
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    raise AssertionError("it never came to that")


def bits(run):
    """Every file of the last checkpoint and the model; and the log without times."""
    last = max((run / "checkpoints").glob("step-????????"))
    held = {each.name: each.read_bytes() for each in sorted(last.glob("*.safetensors"))}
    held["state"] = json.loads((last / "state.json").read_text())
    # The settings are kept too, and the number of reading processes may differ.
    del held["state"]["identity"]
    held["model"] = (run / "model" / "model.safetensors").read_bytes()
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    held["log"] = [(each["epoch"], each["step"], each["loss"], each["scores"]) for each in log]
    return held


@pytest.fixture(scope="module")
def uninterrupted(tiny_settings, tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    train(layered(None, tiny_settings | {"epochs": 4, "samples": 0, "out": str(run)}))
    return bits(run)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "status", "moment", "workers"),
    [
        ("SIGTERM", 143, "first epoch", 0),
        ("SIGINT", 130, "first epoch", 2),
        ("SIGTERM", 143, "second epoch", 2),
        ("SIGINT", 130, "before the first step", 0),
    ],
)
def test_a_training_that_is_told_to_end_saves_and_goes_on_bitwise(
    started, uninterrupted, name, status, moment, workers
):
    process, run = started(workers=workers)
    files = {"second epoch": "metrics.jsonl", "before the first step": "config.yaml"}
    wait_for((run / files.get(moment, ".lock")).exists, process)
    if moment == "first epoch":
        time.sleep(0.3)
    process.send_signal(getattr(signal, name))
    said, _ = process.communicate(timeout=60)
    assert process.returncode == status, said
    assert not (run / "metrics.jsonl").exists() or moment == "second epoch"
    if (run / "checkpoints").exists():
        assert f"{name}: saved after step" in said
        assert f"Continue with: segkit train --resume {run}" in said
    resume(run)
    assert bits(run) == uninterrupted


@pytest.mark.integration
@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR1"])
def test_a_training_that_is_told_to_save_saves_and_goes_on(started, uninterrupted, name):
    process, run = started(checkpoint_minutes=1e9)
    wait_for((run / ".lock").exists, process)
    time.sleep(0.3)
    process.send_signal(getattr(signal, name))
    wait_for(lambda: list((run / "checkpoints").glob("step-????????")), process)
    assert not (run / "metrics.jsonl").exists()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert bits(run) == uninterrupted


@pytest.mark.integration
def test_a_second_signal_ends_it_at_once(started):
    process, run = started(evaluate_every=4)
    wait_for((run / ".lock").exists, process)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (130, 143)


def test_a_checkpoint_is_due_by_the_clock_of_the_first_process():
    first, second = (Group(rank, 1, 1, None) for rank in (0, 1))
    late, patient = Requests(Signals(), first, 1e-9), Requests(Signals(), first, 10)
    other = Requests(Signals(), second, 1e-9)
    assert [each.at_step() for each in (late, patient, other)] == [SAVE, GO_ON, GO_ON]


def test_processes_agree_a_step_later_on_the_largest_request():
    heard = []

    class Pair(Group):
        def start_maximum(self, value):
            heard.append(value)
            other = signal.SIGTERM if len(heard) == 3 else GO_ON
            return lambda: max(value, other)

    own = Signals()
    requests = Requests(own, Pair(0, 2, 2, None), 10)
    own.receive(signal.SIGUSR1)
    assert [requests.at_step() for _ in range(4)] == [GO_ON, SAVE, GO_ON, signal.SIGTERM]
    assert heard == [SAVE, GO_ON, GO_ON, GO_ON]


def test_before_the_first_step_a_signal_ends_the_process():
    with pytest.raises(SystemExit) as ended:
        Signals().receive(signal.SIGTERM)
    assert ended.value.code == 143
    with pytest.raises(KeyboardInterrupt):
        Signals().receive(signal.SIGINT)


def test_a_run_that_never_came_to_a_checkpoint_begins_again_bitwise(
    settings, interrupted, uninterrupted, tmp_path
):
    interrupted(settings(samples=0), after=1)
    assert not (tmp_path / "run" / "checkpoints").exists()
    resume(tmp_path / "run")
    assert bits(tmp_path / "run") == uninterrupted


def test_the_comparison_would_notice_another_seed(settings, uninterrupted, tmp_path):
    train(settings(samples=0, seed=1))
    assert bits(tmp_path / "run") != uninterrupted
