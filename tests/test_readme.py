"""The README is kept: its plugin guide makes a working package, its lists are what is installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import segkit
from segkit import errors
from segkit.registry.index import Index

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def files_of_the_guide() -> dict[str, str]:
    """The files of "Publishing a plugin": a name in backticks, then a fenced block."""
    guide = README.partition("## Publishing a plugin")[2]
    return dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```", guide, re.M | re.S))


def run(*command: str, site: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The guide's package, installed by pip into a folder of its own: (package, site)."""
    package = tmp_path_factory.mktemp("segkit-tiny")
    site = tmp_path_factory.mktemp("site")
    for name, text in files_of_the_guide().items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text, encoding="utf-8")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(site)]
    installed = run("-m", "pip", "install", *options, str(package), site=site, cwd=package)
    assert installed.returncode == 0, installed.stderr
    return package, site


def test_the_guide_is_three_files():
    assert list(files_of_the_guide()) == [
        "pyproject.toml",
        "src/segkit_tiny/__init__.py",
        "tests/test_conformance.py",
    ]


@pytest.mark.integration
def test_the_guides_package_passes_its_own_checks(published):
    package, site = published
    checked = run("-m", "pytest", "-q", "-p", "no:cacheprovider", site=site, cwd=package)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.integration
def test_the_guides_encoder_trains_by_name(published, tmp_path):
    _, site = published
    settings = ["--epochs", "1", "--workers", "0", "--out", "run"]
    trained = run("-m", "segkit", "train", "--encoder", "tiny", *settings, site=site, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


@pytest.mark.integration
def test_the_guides_package_broken_on_purpose_is_named_and_harms_nobody(published, tmp_path):
    _, site = published
    module = site / "segkit_tiny" / "__init__.py"
    whole = module.read_text()
    module.write_text("import a_package_nobody_has\n" + whole)
    try:
        listed = run("-m", "segkit", "list", "encoders", site=site, cwd=tmp_path)
        named = run("-m", "segkit", "train", "--encoder", "tiny", site=site, cwd=tmp_path)
        other = run("-m", "segkit", "info", "encoder", "unet", site=site, cwd=tmp_path)
    finally:
        module.write_text(whole)
    assert listed.returncode == 0
    assert "tiny" in listed.stdout
    assert named.returncode == 9
    assert "segkit-tiny 0.1.0 cannot be loaded" in named.stderr
    assert "No module named 'a_package_nobody_has'" in named.stderr
    assert "Traceback" not in named.stderr
    assert other.returncode == 0, other.stderr


def test_every_component_the_readme_lists_is_installed_and_the_other_way_round():
    rows = re.findall(r"^\| \[(segkit-\w+)\]\(\S+\) \| (.*) \|$", README, re.M)
    listed = {name: set(re.findall(r"`([\w.-]+)`", text)) for name, text in rows}
    families = {"segkit-timm": {"timm"}, "segkit-smp": {"smp"}}
    ours = {
        name: {e.name for e in entries}
        for name, entries in Index.of_installed(()).distributions().items()
        if name in listed
    }
    assert {**listed, **families} == ours


def test_the_exit_statuses_are_those_of_the_error_tree():
    table = {int(n) for n in re.findall(r"^\| (\d+) \| ", README, re.M)}
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    assert {c.exit_code for c in classes if issubclass(c, errors.SegkitError)} <= table


def test_the_python_example_runs():
    [example] = re.findall(r"```python\n(import segkit\n.*?)```", README, re.S)
    example = example.partition('model = segkit.load_model("runs/cells")')[0]
    names = {"image_BCHW": torch.zeros(1, 3, 33, 47, dtype=torch.uint8)}
    exec(example, names)
    assert names["logits_BKHW"].shape == (1, 11, 33, 47)
    assert isinstance(names["model"], segkit.SegmentationModel)
