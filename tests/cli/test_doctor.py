"""`segkit doctor`: each line can turn to warn or bad, and then says what to do."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from segkit.describe import doctor as health
from segkit.registry.index import Entry, Index


def doctor(*arguments, **environment):
    command = [sys.executable, "-m", "segkit", "doctor", *arguments]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def fake_package(site, name, version, requires="", init=""):
    (site / name).mkdir(parents=True)
    (site / name / "__init__.py").write_text(init)
    (site / name / "version.py").write_text(f"__version__ = '{version}'\n")
    info = site / f"{name}-{version.partition('+')[0]}.dist-info"
    info.mkdir()
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    (info / "METADATA").write_text(f"Name: {name}\nVersion: {version.partition('+')[0]}\n{needs}")


@pytest.mark.integration
def test_this_machine_is_sound():
    ran = doctor("--json")
    lines = json.loads(ran.stdout)
    assert ran.returncode == 0, ran.stdout
    subjects = [line["subject"] for line in lines]
    assert subjects[:3] == ["python", "segkit", "packages"]
    assert {"torch", "devices", "cores", "memory", "disk", "weights", "plugins"} <= {*subjects}


def test_a_cpu_torch_beside_a_cuda_torchvision_is_bad_with_both_versions_and_the_fix(tmp_path):
    fake_package(tmp_path, "torch", "2.15.0+cpu", init="raise ImportError('libtorch_cuda.so')")
    fake_package(tmp_path, "torchvision", "0.29.2+cu132", "torch (>=2.14.0)")
    ran = doctor(PYTHONPATH=str(tmp_path))
    assert ran.returncode == 4
    assert (
        "torch 2.15.0+cpu and torchvision 0.29.2+cu132 were built for different devices"
        in ran.stdout
    )
    assert "> python -m pip install --force-reinstall torch torchvision" in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr


def test_the_doctor_does_not_import_torch():
    program = (
        "import sys\nfrom segkit.describe import doctor as health\nhealth.PROBE = ''\n"
        "health.examine()\nprint('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout.startswith("False"), ran.stderr


def test_a_missing_or_old_package_is_bad(monkeypatch):
    held = {"click": None, "numpy": "1.26.4"}
    real = health.version_of
    monkeypatch.setattr(health, "version_of", lambda name: held.get(name, real(name)))
    bad = {line.found: line.fix for line in health.requirements() if line.state == "bad"}
    assert bad == {
        "click is missing": 'python -m pip install "click>=8.2"',
        "numpy 1.26.4, and segkit needs >=2.0": 'python -m pip install "numpy>=2.0"',
    }


def test_two_opencvs_are_named(monkeypatch):
    held = {"opencv-python": "4.10", "opencv-python-headless": "4.11"}
    monkeypatch.setattr(health, "version_of", held.get)
    line = health.opencv()
    assert line.state == "warn"
    assert line.found.startswith("opencv-python 4.10 and opencv-python-headless 4.11 share")
    assert "pip uninstall -y opencv-python opencv-python-headless" in line.fix


def test_a_torch_that_cannot_be_imported_is_bad():
    [line] = health.devices("ImportError: libtorch_cuda.so: cannot open shared object file")
    assert line.state == "bad"
    assert "libtorch_cuda.so" in line.found
    assert "pip install --force-reinstall torch torchvision" in line.fix


def test_a_torchvision_that_cannot_be_imported_is_bad_though_its_files_fit():
    error = "RuntimeError: operator torchvision::nms does not exist"
    line = health.torch_and_torchvision({"torchvision_error": error})
    assert line.state == "bad"
    assert line.found.endswith(f"do not fit each other ({error})")
    assert line.fix == "python -m pip install --force-reinstall torch torchvision"


def test_devices_are_listed():
    probed = {"devices": ["cuda:0 Big, 80.0 GiB, bfloat16"], "cuda_build": "13.2"}
    assert [line.found for line in health.devices(probed)] == probed["devices"]


@pytest.mark.parametrize(
    ("available", "state"), [(1.5 * health.GIB, "warn"), (16 * health.GIB, "ok")]
)
def test_little_memory_is_a_warning(available, state):
    line = health.memory(32 * health.GIB, available)
    assert line.state == state
    assert line.found == f"{available / health.GIB:.1f} of 32.0 GiB free"


def free(monkeypatch, size):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: type("Usage", (), {"free": size * health.GIB})
    )


def test_a_containers_small_shared_memory_is_a_warning(monkeypatch, tmp_path):
    free(monkeypatch, 1 / 16)
    line = health.shared_memory(tmp_path)
    assert (line.state, line.found) == ("warn", f"0.06 GiB free in {tmp_path}")
    assert "--workers 0" in line.fix
    assert "--shm-size" in line.fix


def test_a_full_disk_is_a_warning(monkeypatch, tmp_path):
    free(monkeypatch, 0.5)
    assert health.disk(tmp_path).state == "warn"
    free(monkeypatch, 50)
    assert health.disk(tmp_path).found == f"50.0 GiB free at {tmp_path}"


def test_weights_fetched_by_hand_are_listed(monkeypatch, tmp_path):
    (tmp_path / "timm--densenet121.ra_in1k.safetensors").touch()
    monkeypatch.setenv("SEGKIT_WEIGHTS", str(tmp_path))
    assert health.weights_folder().found == f"timm--densenet121.ra_in1k in {tmp_path}"
    monkeypatch.setenv("SEGKIT_WEIGHTS", str(tmp_path / "gone"))
    assert "which is no folder" in health.weights_folder().found


def test_that_is_where_weights_are_looked_for(monkeypatch, tmp_path):
    from segkit.model.weights import PublishedWeights

    monkeypatch.delenv("SEGKIT_WEIGHTS", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    folder = PublishedWeights("owner/name", "Apache-2.0").local_path.parent
    assert health.weights_folder().found == f"none in {folder}"


def test_weights_from_the_hub_are_listed(monkeypatch, tmp_path):
    snapshot = tmp_path / "models--timm--resnet18.a1_in1k" / "snapshots" / "0abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    (tmp_path / "models--owner--tokenizer" / "snapshots").mkdir(parents=True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert health.hub_cache().found == f"timm/resnet18.a1_in1k in {tmp_path}"


def test_a_plugin_for_another_core_is_bad():
    problem = "needs segkit-core>=7, and 0.1.0 is installed"
    index = Index([Entry("losses", "x", "x", "acme", "2.0", problem)])
    bad, summary = health.plugins(index)
    assert (bad.state, bad.found) == ("bad", f"acme 2.0: {problem}")
    assert bad.fix == "python -m pip install --upgrade acme segkit-core"
    assert summary.found.startswith("0 with 0 entries")


def test_no_plugin_at_all_is_bad():
    [line] = health.plugins(Index([]))
    assert (line.state, line.found) == ("bad", "none is installed")
