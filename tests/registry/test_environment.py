"""Whether torch and torchvision fit, told from files, and what an import error then says."""

import sys

import pytest

from segkit.registry import environment
from segkit.registry.environment import (
    REINSTALL,
    explain_import_error,
    installed_build,
    torch_mismatch,
)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """installed(torch=..., torchvision=...): made-up packages, first on the path."""

    def install(*, torch, torchvision, requires="torch (>=2.14.0)", linked=b""):
        for name, version in (("torch", torch), ("torchvision", torchvision)):
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").touch()
            (tmp_path / name / "version.py").write_text(
                f"from typing import Optional\n__version__ = '{version}'\n"
            )
            release = version.partition("+")[0]
            info = tmp_path / f"{name}-{release}.dist-info"
            info.mkdir()
            needs = f"Requires-Dist: {requires}\n" if name == "torchvision" else ""
            (info / "METADATA").write_text(f"Name: {name}\nVersion: {release}\n{needs}")
        (tmp_path / "torchvision" / "_C.so").write_bytes(linked)
        monkeypatch.syspath_prepend(str(tmp_path))
        return tmp_path

    return install


def test_a_cpu_torch_beside_a_cuda_torchvision_is_seen(installed):
    installed(torch="2.15.0+cpu", torchvision="0.29.2+cu132")
    assert torch_mismatch() == (
        "torch 2.15.0+cpu and torchvision 0.29.2+cu132 were built for different devices"
    )


def test_so_it_is_where_torchvision_does_not_say_what_it_was_built_for(installed):
    installed(torch="2.15.0+cpu", torchvision="0.29.2", linked=b"\0libtorch_cuda.so\0")
    assert "torch 2.15.0+cpu and torchvision 0.29.2 were built" in torch_mismatch()


@pytest.mark.parametrize(
    ("torch", "vision"),
    [
        ("2.15.0+cu132", "0.29.2+cu132"),
        ("2.15.0+cu130", "0.29.2+cu132"),
        ("2.15.0", "0.29.2"),
        ("2.15.0+cpu", "0.29.2+cpu"),
        ("2.15.0+cpu", "0.29.2"),
        ("2.15.0+cu132", "0.29.2+cpu"),
        ("2.15.0+rocm6.4", "0.29.2+rocm6.4"),
    ],
)
def test_builds_that_work_together_are_no_mismatch(installed, torch, vision):
    installed(torch=torch, torchvision=vision)
    assert torch_mismatch() is None


@pytest.mark.parametrize(
    ("torch", "vision"),
    [("2.15.0+cu126", "0.29.2+cu132"), ("2.15.0+rocm6.4", "0.29.2+cu132")],
)
def test_other_devices_are_a_mismatch(installed, torch, vision):
    installed(torch=torch, torchvision=vision)
    assert "different devices" in torch_mismatch()


def test_a_torch_of_another_release_is_a_mismatch_with_the_range(installed):
    installed(torch="2.11.0", torchvision="0.26.0", requires="torch (==2.12.0)")
    assert torch_mismatch() == (
        "torchvision 0.26.0 was built for torch==2.12.0, and torch 2.11.0 is installed"
    )


def test_a_local_version_meets_a_plain_requirement(installed):
    installed(torch="2.12.0+cpu", torchvision="0.27.0+cpu", requires="torch (==2.12.0)")
    assert torch_mismatch() is None


def test_nothing_is_imported_to_tell(installed):
    folder = installed(torch="2.15.0+cpu", torchvision="0.29.2+cu132")
    for name in ("torch", "torchvision"):
        (folder / name / "__init__.py").write_text("raise RuntimeError('imported')")
    before = set(sys.modules)
    assert torch_mismatch()
    assert {"torch", "torchvision"} & (set(sys.modules) - before) == set()


def test_this_environment_fits():
    assert torch_mismatch() is None
    import torch

    assert installed_build("torch").version == torch.__version__


@pytest.mark.parametrize(
    "error",
    [
        # As torchvision 0.29 fails when its compiled part cannot be loaded.
        RuntimeError("operator torchvision::nms does not exist"),
        AttributeError("partially initialized module 'torchvision' has no attribute 'extension'"),
        OSError("libtorch_cuda.so: cannot open shared object file: No such file or directory"),
        RuntimeError(
            "Detected that PyTorch and torchvision were compiled with different CUDA versions."
        ),
    ],
)
def test_the_import_error_names_both_versions_and_the_one_line_fix(installed, error):
    installed(torch="2.15.0+cpu", torchvision="0.29.2+cu132")
    assert explain_import_error(error) == (
        "torch 2.15.0+cpu and torchvision 0.29.2+cu132 were built for different devices.\n"
        "python -m pip install --force-reinstall torch torchvision"
    )


def test_where_the_files_show_no_mismatch_the_versions_are_still_named(installed):
    installed(torch="2.15.0", torchvision="0.29.2")
    fix = explain_import_error(RuntimeError("operator torchvision::nms does not exist"))
    assert fix == f"torch 2.15.0 and torchvision 0.29.2 do not fit each other.\n{REINSTALL}"


def test_other_errors_are_left_alone():
    assert explain_import_error(ImportError("No module named 'acme'")) == ""
    assert "\n" not in environment.REINSTALL
