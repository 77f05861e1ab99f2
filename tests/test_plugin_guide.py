"""The plugin guide is kept: its packages pass their own checks, and its commands end well."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segkit.hookspecs import HOOKS
from segkit.interfaces import BUILD_ARGUMENTS
from segkit.registry.index import singular

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
PAGES = {
    file.stem: file.read_text("utf-8") for file in sorted((ROOT / "docs/plugins").glob("*.md"))
}
Run = Callable[..., subprocess.CompletedProcess[str]]


def files_of(page: str) -> dict[str, str]:
    """The files of a page: a name in backticks, then a fenced block."""
    return dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```", page, re.M | re.S))


def commands_of(page: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.M | re.S)
    lines = [line for named, block in blocks if not named for line in block.splitlines()]
    return [line for line in lines if line.startswith("segkit ")]


COMMANDS = [line for page in PAGES.values() for line in commands_of(page)]


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> dict[str, Path]:
    """The package of each kind, written out of its page."""
    folder = tmp_path_factory.mktemp("packages")
    for kind, page in PAGES.items():
        for name, text in files_of(page).items():
            file = folder / kind / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    return {kind: folder / kind for kind in PAGES}


@pytest.fixture(scope="module")
def site(packages, tmp_path_factory) -> Path:
    """A folder for PYTHONPATH in which all eight packages are installed."""
    site = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(site)]
    installed = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, *map(str, packages.values())],
        capture_output=True,
        text=True,
    )
    assert installed.returncode == 0, installed.stderr
    return site


@pytest.fixture(scope="module")
def segkit(forked, site, tmp_path_factory) -> Run:
    """segkit(["segkit", ...]): a command where the packages are installed, in one folder."""
    place = tmp_path_factory.mktemp("place")
    _fill(place)
    return lambda words: forked.run(words, cwd=place, env={"PYTHONPATH": str(site)})


def _fill(place: Path) -> None:
    """What the commands of the pages suppose: DIR with .npz files, and the benchmark's file."""
    drawn = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        (place / "DIR" / split).mkdir(parents=True)
        for number in range(count):
            mask_HW = np.zeros((32, 40), np.uint8)
            mask_HW[4:20, 6:24] = 1
            noise_HWC = drawn.integers(0, 60, (32, 40, 3))
            image_HWC = (noise_HWC + 150 * mask_HW[..., None]).astype(np.uint8)
            np.savez(place / "DIR" / split / f"{number}.npz", image=image_HWC, mask=mask_HW)
    [suite] = re.findall(r"`blur.yaml`:\n\n```yaml\n(.*?)^```", PAGES["benchmark"], re.M | re.S)
    (place / "blur.yaml").write_text(suite)


def test_there_is_a_page_of_each_kind_with_a_whole_package():
    assert set(PAGES) == {singular(kind) for kind in HOOKS}
    assert len(COMMANDS) >= len(PAGES)
    for kind, page in PAGES.items():
        suffixes = [Path(name).name for name in files_of(page)]
        assert suffixes[:2] == ["pyproject.toml", "__init__.py"], kind
        assert suffixes[2].startswith("test_"), kind


@pytest.mark.timeout(900)
def test_the_packages_pass_their_own_checks(site, packages, tmp_path):
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-n", "0"]
    checked = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *map(str, packages.values())],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout[-4000:]
    passed = re.search(r"(\d+) passed", checked.stdout)
    assert passed is not None
    assert int(passed[1]) > 80


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_pages_ends_well(segkit, line):
    ended = segkit(shlex.split(line))
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_refusal_that_the_decoders_page_tells_of(segkit):
    parts = ["--encoder", "vgg11_bn", "--upsampler", "max_unpool"]
    ended = segkit(["segkit", "info", "decoder", "addup", *parts])
    assert "which no pooling indices fit" in " ".join((ended.stdout + ended.stderr).split())


def test_the_examples_of_options_are_options():
    from segkit.registry.options import options_of, written_value

    [program] = re.findall(r"^```python\n(from enum.*?)^```", GUIDE, re.M | re.S)
    names: dict[str, object] = {"__name__": "example"}
    exec(program, names)
    options = {o.name: o for o in options_of(names["Example"], "encoders")}
    assert written_value(options["padding"].default) == "same"
    assert written_value(options["activation"].default) == "ReLU"
    assert options["width"].description.endswith("by deeper indented ones")


def test_a_family_as_the_guide_writes_it_is_found(install_fake):
    from segkit.registry.components import Registry

    [program] = re.findall(r"^```python\n(from segkit.api.*?WIDTHS.*?)^```", GUIDE, re.M | re.S)
    source = (
        "def factory_of(width):\n"
        "    def build(in_channels: int, weights: str): return width\n"
        "    return build\n" + program
    )
    install_fake("acme", {"encoders": {"tinies": "acme_tinies"}}, acme_tinies=source)
    registry = Registry()
    wide = registry.component("encoders", "tinies/wide")
    assert wide.build(in_channels=3, weights="none") == 32
    assert registry.members(wide.entry) == ("tinies/narrow", "tinies/wide")


def test_build_arguments_groups_and_hooks_are_those_of_the_code():
    table = dict(re.findall(r"^\| ([a-z, ]+) \| ((?:`\w+`(?:, )?)+) \|$", GUIDE, re.M))
    for kind, arguments in BUILD_ARGUMENTS.items():
        said = {"losses": "loss, metric", "metrics": "loss, metric", "datasets": "data set"}
        row = table[said.get(kind, singular(kind))]
        assert tuple(re.findall(r"\w+", row)) == arguments
        assert f"`segkit.{kind}`" in GUIDE
        assert f"`{HOOKS[kind]}`" in GUIDE


def test_every_variable_that_the_code_reads_is_in_the_guide():
    code = "".join(file.read_text("utf-8") for file in (ROOT / "segkit").rglob("*.py"))
    read = set(re.findall(r"environ(?:\.get\(|\[)\"((?:SEGKIT|HF|XDG)_\w+)\"", code))
    assert len(read) > 5
    assert {name for name in read if f"`{name}`" not in GUIDE} == set()
