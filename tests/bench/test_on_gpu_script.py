"""The one command for a GPU: every part has its time and its record, and a rehearsal pretends."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "on_gpu.py"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(SCRIPT.parent))
    yield importlib.import_module("on_gpu")
    sys.path.remove(str(SCRIPT.parent))


def test_parts_come_in_their_order_and_each_is_recorded_when_it_is_over(
    script, tmp_path, monkeypatch
):
    seen = []

    def pretended(part, machine, seconds):
        record = tmp_path / "results" / "gpu-run.json"
        done = json.loads(record.read_text())["parts"] if record.is_file() else []
        seen.append((part.name, seconds, len(done)))
        return script.Outcome(part.name, "failed" if part.name == "losses" else "ok")

    monkeypatch.setattr(script, "suite", pretended)
    monkeypatch.setattr(script, "HOW", dict.fromkeys(script.HOW, pretended))
    machine = script.Machine(tmp_path / "results", tmp_path, rehearsal=True)
    outcomes = script.run_parts(script.PARTS, machine, 600.0)
    names = [part.name for part in script.PARTS]
    assert [name for name, _, _ in seen] == names and len(outcomes) == len(names)
    assert [done for _, _, done in seen] == list(range(len(names)))
    # Nothing took time, so the last part may have all that was left.
    assert seen[-1][1] == pytest.approx(600, abs=5)
    suites = {"quick", "train-step", "inference", "losses", "loss-tail", "metrics", "encoders"}
    assert suites | {"tests", "train-demo", "train-camvid", "plan"} <= set(names)


def test_a_part_that_outruns_its_time_is_ended_and_says_so(script, tmp_path):
    machine = script.Machine(tmp_path, tmp_path, rehearsal=True)
    sleeping = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"]
    outcome = machine.run("a part", sleeping, 1.0)
    assert (outcome.status, outcome.note) == ("slow", "begun") and outcome.seconds < 20
    failing = machine.run("a part", [sys.executable, "-c", "raise SystemExit('why')"], 30.0)
    assert (failing.status, failing.note) == ("failed", "why")


def test_without_a_gpu_nothing_runs_and_an_unknown_part_is_named():
    def ran(*words):
        command = [sys.executable, str(SCRIPT), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    import torch

    if not torch.cuda.is_available():
        found = ran()
        assert found.returncode == 3 and "--rehearse needs none" in found.stdout
    wrong = ran("nosuch", "--rehearse")
    assert wrong.returncode == 2 and "there is no part 'nosuch'" in wrong.stderr


def test_wheels_are_installed_beside_what_is_there_without_a_network(script, tmp_path):
    wheels, work = tmp_path / "wheels", tmp_path / "work"
    wheels.mkdir()
    _write_wheel(wheels / "gpu_probe-1.0-py3-none-any.whl")
    pytest.importorskip("pip")
    found = script.environment_of(wheels, rehearsal=False, work=work)
    code = "import gpu_probe, torch; print(gpu_probe.__file__)"
    said = subprocess.run(
        [sys.executable, "-c", code], env=found, capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith(str(work / "site"))


def _write_wheel(file):
    import zipfile

    info = "gpu_probe-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("gpu_probe.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: gpu-probe\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


PRETENDED = """
import torch
from segkit.bench.instruments.conditions import conditions
from segkit.bench.instruments.instrument import instrument_for
from segkit.device import choose_device

device = choose_device("cuda")
assert device.type == "cuda", device
x = torch.randn(4, 4, device=device)
instrument = instrument_for(str(device))
seconds = instrument.measured(lambda mark: (x @ x, mark("product")))
assert set(seconds) == {"step", "product"}, seconds
instrument.reset_peak()
assert instrument.peak(0)["allocated_bytes"] > 0
replay = instrument.captured(lambda mark: x @ x)
replay(lambda phase: None)
print(conditions(str(device)).device, instrument.clock)
"""


def test_the_pretended_gpu_answers_every_call_of_the_instrument():
    pytest.importorskip("segkit_bench_gpu")
    path = os.pathsep.join([str(SCRIPT.parent / "rehearsal"), os.environ.get("PYTHONPATH", "")])
    said = subprocess.run(
        [sys.executable, "-c", PRETENDED],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.strip() == "a pretended GPU CUDA events", said.stderr
