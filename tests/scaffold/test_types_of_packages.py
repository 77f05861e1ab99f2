"""What a new package says of its types holds: mypy --strict passes, and notices what breaks it."""

import os
import subprocess
import sys

import pytest

from segkit.interfaces import KINDS
from segkit.registry.index import Index, singular
from segkit.scaffold import PluginNames, write_plugin

pytestmark = pytest.mark.integration
ARGUMENTS = {
    "encoders": '3, "none"',
    "decoders": "(4, 8), (2, 4), make",
    "upsamplers": "4, 4, 2",
    "losses": "3, None",
    "metrics": "3, None",
    "datasets": 'Path("."), "train"',
    "benchmarks": '"cpu"',
    "launchers": 'Path(".")',
}
# What breaks a type on purpose, and what is said of it.
BROKEN = {
    "encoders": ("self.channels = (width, 2 * width, 4 * width)", "self.channels = str(width)"),
    "upsamplers": ("self.channels = out_channels", "self.channels = str(out_channels)"),
    "metrics": ("def reset(self)", "def forget(self)"),
    "benchmarks": ('unit = "image"', "unit = 1"),
}


def checked(folders, *more):
    """mypy's complaints about the packages' sources and tests, by line."""
    environment = os.environ | {"MYPYPATH": os.pathsep.join(str(f / "src") for f in folders)}
    files = [str(place) for f in folders for place in (*(f / "src").iterdir(), f / "tests")]
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folders[0] / ".mypy")]
    command += ["--explicit-package-bases", *files, *map(str, more)]
    ran = subprocess.run(
        command, env=environment, cwd=folders[0].parent, capture_output=True, text=True
    )
    assert ran.returncode in (0, 1), ran.stderr
    return [line for line in ran.stdout.splitlines() if ": error: " in line]


@pytest.mark.timeout(900)
def test_eight_new_packages_are_strict_and_fit_their_protocols(tmp_path):
    folders = [write_plugin(kind, f"new-{singular(kind)}", tmp_path, Index([])) for kind in KINDS]
    lines = ["from pathlib import Path", "from segkit import api", "make: api.MakeUpsampler"]
    for kind in KINDS:
        names = PluginNames.of(kind, f"new-{singular(kind)}")
        built = f"{names.title}{singular(kind).capitalize()}"
        protocol = singular(kind).capitalize()
        lines += [
            f"from {names.module} import {built}",
            f"{kind}: api.{protocol} = {built}({ARGUMENTS[kind]})",
            f"{kind}_factory: api.Factory[api.{protocol}] = {built}",
        ]
    (tmp_path / "assigned.py").write_text("\n".join(lines) + "\n")
    found = checked(folders, tmp_path / "assigned.py")
    assert found == [], found
    broken = []
    for kind, (sound, wrong) in BROKEN.items():
        folder = folders[KINDS.index(kind)]
        [module] = (folder / "src").glob("*/__init__.py")
        text = module.read_text()
        assert sound in text
        module.write_text(text.replace(sound, wrong))
        broken.append(folder)
    complaints = checked(broken)
    for folder in broken:
        name = folder.name.replace("-", "_")
        assert any(name in line and "return" in line.lower() for line in complaints), complaints
